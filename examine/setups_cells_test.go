package examine_test

// cells are the failures, by the name of the kind of node. The order is that of the
// document.
func cells() map[string][]cell {
	return map[string][]cell{
		"EKS (Amazon Linux 2023)":      eksCells(),
		"Bottlerocket":                 bottlerocketCells(),
		"GKE (Container-Optimized OS)": gkeCells(),
		"AKS":                          aksCells(),
		"kubeadm":                      kubeadmCells(),
		"k3s":                          k3sCells(),
		"RKE2":                         rke2Cells(),
		"Talos":                        talosCells(),
	}
}

// The verdicts that several cells want.
const (
	noSuchTag        = "cluster-config TagNotFound confirmed"
	noSuchTagCached  = "cluster-config TagNotFound likely" // the repository may be a cache
	noSuchRepository = "cluster-config RepositoryNotFound confirmed"
	wrongPassword    = "cluster-config CredentialsRejected confirmed"
	noLogin          = "cluster-config CredentialsMissing|AccessDeniedOrMissing likely|confirmed"
	secretGone       = "cluster-config PullSecretMissing likely|confirmed"
	noRight          = "cluster-config AccessForbidden likely"
	providerDown     = "node-infrastructure CredentialProviderFailed likely|confirmed"
	nodeLacksRight   = "node-infrastructure|undetermined AccessForbidden|AccessDeniedOrMissing likely"
	nodeLoginWrong   = "node-infrastructure CredentialsRejected likely|confirmed"
)

func eksCells() []cell {
	return []cell{
		{
			row: "eks-ecr-tag", registry: "Amazon ECR", failure: "no such tag", image: ecrName + "/team/app:1.1",
			provider: ecrMember, kubelet: []string{ecrMember}, want: noSuchTag,
		},
		{
			row: "eks-ecr-repository", registry: "Amazon ECR", failure: "no such repository", image: ecrName + "/team/ap:1.0",
			provider: ecrMember, kubelet: []string{ecrMember}, want: noSuchRepository,
		},
		{
			row: "eks-ecr-role", registry: "Amazon ECR", failure: "the nodes' role may not pull", image: ecrName + "/team/app:1.0",
			provider: ecrGuest, kubelet: []string{ecrGuest}, want: "node-infrastructure AccessForbidden likely|confirmed",
		},
		{
			row: "eks-ecr-policy", registry: "Amazon ECR", failure: "the repository's policy denies it", image: ecrName + "/team/closed:1.0",
			provider: ecrMember, kubelet: []string{ecrMember},
			want: "cluster-config|registry|undetermined AccessForbidden likely|confirmed",
		},
		{
			// The other account's owner must permit it, or the name is wrong: ECR answers the
			// same for both.
			row: "eks-ecr-other-account", registry: "Amazon ECR", failure: "another account's policy forbids it",
			image: ecrOther + "/team/app:1.0", provider: ecrMember, kubelet: []string{ecrMember},
			want: "undetermined|registry|cluster-config AccessForbidden|AccessDeniedOrMissing likely", says: "policy|exists",
		},
		{
			row: "eks-ecr-provider-fails", registry: "Amazon ECR", failure: "the provider fails", image: ecrName + "/team/app:1.0",
			provider: "fails", want: providerDown,
		},
		{
			row: "eks-ecr-provider-hangs", registry: "Amazon ECR", failure: "the provider hangs", image: ecrName + "/team/app:1.0",
			provider: "hangs", want: "node-infrastructure CredentialProviderFailed likely",
		},
		{
			row: "eks-ecr-tag-not-run", registry: "Amazon ECR", failure: "no such tag, provider not run", image: ecrName + "/team/app:1.1",
			provider: ecrMember, notRun: true, kubelet: []string{ecrMember}, want: "cluster-config TagNotFound likely",
		},
		{
			row: "eks-ecr-role-not-run", registry: "Amazon ECR", failure: "the nodes' role may not pull, provider not run",
			image: ecrName + "/team/app:1.0", provider: ecrGuest, notRun: true, kubelet: []string{ecrGuest}, want: nodeLacksRight,
		},
		{
			row: "eks-ecr-provider-fails-not-run", registry: "Amazon ECR", failure: "the provider fails, and is not run here",
			image: ecrName + "/team/app:1.0", provider: "fails", notRun: true,
			want: "node-infrastructure|undetermined CredentialsMissing|CredentialProviderFailed likely",
		},
		{
			row: "eks-harbor-no-secret", registry: "Harbor", failure: "private, no secret", image: harborName + "/team/app:1.0",
			want: noLogin,
		},
		{
			row: "eks-docker-hub-limit", registry: "Docker Hub", failure: "rate limit, no login", image: hubNames + "/library/limited:1.0",
			want: "registry RateLimited likely|confirmed",
		},
	}
}

func bottlerocketCells() []cell {
	return []cell{
		{
			row: "bottlerocket-ecr-tag", registry: "Amazon ECR", failure: "no such tag", image: ecrName + "/team/app:1.1",
			provider: ecrMember, kubelet: []string{ecrMember}, want: noSuchTag,
		},
		{
			row: "bottlerocket-ecr-provider-fails", registry: "Amazon ECR", failure: "the provider fails", image: ecrName + "/team/app:1.0",
			provider: "fails", want: providerDown,
		},
		{
			row: "bottlerocket-docker-hub-limit", registry: "Docker Hub", failure: "rate limit, no login",
			image: hubNames + "/library/limited:1.0", want: "registry RateLimited likely|confirmed", noFix: "set config_path",
		},
		{
			row: "bottlerocket-harbor-settings", registry: "Harbor", failure: "wrong password in the node's settings",
			image: harborNode + "/team/app:1.0", want: nodeLoginWrong,
			noFix: "config.toml", says: "settings",
		},
	}
}

func gkeCells() []cell {
	return []cell{
		{
			row: "gke-gar-tag", registry: "Artifact Registry", failure: "no such tag", image: garName + "/team/app:1.1",
			provider: memberPassword, kubelet: []string{memberPassword}, want: noSuchTag,
		},
		{
			row: "gke-gar-repository", registry: "Artifact Registry", failure: "no such repository", image: garName + "/team/ap:1.0",
			provider: memberPassword, kubelet: []string{memberPassword}, want: noSuchRepository,
		},
		{
			row: "gke-gar-role", registry: "Artifact Registry", failure: "the nodes' account may not pull", image: garName + "/team/app:1.0",
			provider: guestPassword, kubelet: []string{guestPassword}, want: nodeLacksRight,
		},
		{
			row: "gke-gar-nothing", registry: "Artifact Registry", failure: "the provider returns no login", image: garName + "/team/app:1.0",
			provider: "nothing",
			want:     "node-infrastructure|undetermined CredentialsMissing|AccessDeniedOrMissing|CredentialProviderFailed likely",
		},
		{
			row: "gke-gar-provider-fails", registry: "Artifact Registry", failure: "the provider fails", image: garName + "/team/app:1.0",
			provider: "fails", want: providerDown,
		},
		{
			row: "gke-gar-tag-not-run", registry: "Artifact Registry", failure: "no such tag, provider not run", image: garName + "/team/app:1.1",
			provider: memberPassword, notRun: true, kubelet: []string{memberPassword}, want: "cluster-config TagNotFound likely",
		},
		{
			row: "gke-gar-role-not-run", registry: "Artifact Registry", failure: "the nodes' account may not pull, provider not run",
			image: garName + "/team/app:1.0", provider: guestPassword, notRun: true, kubelet: []string{guestPassword}, want: nodeLacksRight,
		},
		{
			row: "gke-ghcr-no-secret", registry: "GHCR", failure: "private, no secret", image: ghcrName + "/team/app:1.0",
			want: noLogin, never: []string{"* CredentialsMissing confirmed"},
		},
	}
}

func aksCells() []cell {
	return []cell{
		{
			row: "aks-acr-tag", registry: "Azure ACR", failure: "no such tag", image: acrName + "/team/app:1.1",
			provider: acrMember, kubelet: []string{acrMember, ""}, want: noSuchTag,
		},
		{
			row: "aks-acr-repository", registry: "Azure ACR", failure: "no such repository", image: acrName + "/team/ap:1.0",
			provider: acrMember, kubelet: []string{acrMember, ""}, want: noSuchRepository,
		},
		{
			row: "aks-acr-role", registry: "Azure ACR", failure: "the nodes' identity lacks AcrPull", image: acrName + "/team/app:1.0",
			provider: acrGuest, kubelet: []string{acrGuest, ""}, want: nodeLacksRight,
		},
		{
			row: "aks-acr-provider-fails", registry: "Azure ACR", failure: "the provider fails", image: acrName + "/team/app:1.0",
			provider: "fails", want: providerDown,
		},
		{
			row: "aks-acr-tag-not-run", registry: "Azure ACR", failure: "no such tag, provider not run", image: acrName + "/team/app:1.1",
			provider: acrMember, notRun: true, kubelet: []string{acrMember, ""}, want: "cluster-config TagNotFound likely",
		},
		{
			row: "aks-acr-role-not-run", registry: "Azure ACR", failure: "the nodes' identity lacks AcrPull, provider not run",
			image: acrName + "/team/app:1.0", provider: acrGuest, notRun: true, kubelet: []string{acrGuest, ""},
			want:  "node-infrastructure|undetermined AccessForbidden|AccessDeniedOrMissing|CredentialsRejected likely",
			noFix: "put a valid user", says: "AcrPull",
		},
		{
			// The provider meets the same network rule: that it fails is not the cause.
			row: "aks-acr-network-rule", registry: "Azure ACR", failure: "a network rule forbids the address", image: acrWalled + "/team/app:1.0",
			provider: "fails", want: "undetermined|node-infrastructure AccessForbidden|AccessDeniedOrMissing likely",
		},
	}
}

func kubeadmCells() []cell {
	var out []cell
	for _, cells := range [][]cell{kubeadmHarborCells(), kubeadmOwnCells(), kubeadmHostedCells()} {
		out = append(out, cells...)
	}
	return out
}

func kubeadmHarborCells() []cell {
	app := harborName + "/team/app:1.0"
	return []cell{
		cell{
			row: "kubeadm-harbor-tag", registry: "Harbor", failure: "no such tag", image: harborName + "/team/app:1.1", want: noSuchTag,
		}.pullSecret(memberPassword),
		cell{
			// The login is right, and the registry says so in its text only.
			row: "kubeadm-harbor-project", registry: "Harbor", failure: "no such project", image: harborName + "/tem/app:1.0",
			want: "cluster-config RepositoryNotFound|AccessDeniedOrMissing|AccessForbidden likely|confirmed",
		}.pullSecret(memberPassword),
		{
			row: "kubeadm-harbor-no-secret", registry: "Harbor", failure: "private, no secret", image: app, want: noLogin,
		},
		cell{
			row: "kubeadm-harbor-wrong-password", registry: "Harbor", failure: "wrong password", image: app, want: wrongPassword,
		}.pullSecret(strangerPassword),
		{
			row: "kubeadm-harbor-secret-missing", registry: "Harbor", failure: "the secret does not exist", image: app,
			secrets: noSuchSecret(), want: secretGone,
			says: "exists",
		},
		{
			row: "kubeadm-harbor-other-server", registry: "Harbor", failure: "the secret is for another server", image: app,
			secrets: secret("harbor.example.org", "puller", memberPassword),
			want:    "cluster-config PullSecretOtherRegistry likely|confirmed",
			says:    "exists",
		},
		cell{
			row: "kubeadm-harbor-robot", registry: "Harbor", failure: "the robot may not pull", image: app,
			want: "cluster-config AccessForbidden|AccessDeniedOrMissing likely|confirmed",
		}.pullSecret(guestPassword),
	}
}

// kubeadmOwnCells are those of registries that companies run themselves.
func kubeadmOwnCells() []cell {
	return []cell{
		cell{
			row: "kubeadm-artifactory-tag", registry: "Artifactory", failure: "no such tag", image: jfrogName + "/team/app:1.1", want: noSuchTagCached,
		}.pullSecret(memberPassword),
		{
			row: "kubeadm-artifactory-no-secret", registry: "Artifactory", failure: "private, no secret", image: jfrogName + "/team/app:1.0",
			want: noLogin,
		},
		cell{
			row: "kubeadm-artifactory-wrong-password", registry: "Artifactory", failure: "wrong password", image: jfrogName + "/team/app:1.0",
			want: wrongPassword,
		}.pullSecret(strangerPassword),
		cell{
			row: "kubeadm-artifactory-no-right", registry: "Artifactory", failure: "the user may not read", image: jfrogName + "/team/app:1.0",
			want: "cluster-config AccessForbidden likely|confirmed",
		}.pullSecret(guestPassword),
		cell{
			row: "kubeadm-artifactory-hidden", registry: "Artifactory", failure: "the user may not read, and it is hidden",
			image: jfrogHidden + "/team/app:1.0", want: "cluster-config TagNotFound|RepositoryNotFound|AccessDeniedOrMissing likely",
			says: "may read|right|permission|access|hidden",
		}.pullSecret(guestPassword),
		{
			row: "kubeadm-artifactory-hidden-no-secret", registry: "Artifactory", failure: "hidden, no secret",
			image: jfrogHidden + "/team/app:1.0", want: "cluster-config TagNotFound|RepositoryNotFound|AccessDeniedOrMissing likely",
		},
		cell{
			row: "kubeadm-nexus-tag", registry: "Nexus", failure: "no such tag", image: nexusName + "/team/app:1.1", want: noSuchTagCached,
		}.pullSecret(memberPassword),
		{
			row: "kubeadm-nexus-no-secret", registry: "Nexus", failure: "private, no secret", image: nexusName + "/team/app:1.0", want: noLogin,
		},
		cell{
			row: "kubeadm-nexus-wrong-password", registry: "Nexus", failure: "wrong password", image: nexusName + "/team/app:1.0",
			want: wrongPassword,
		}.pullSecret(strangerPassword),
		{
			row: "kubeadm-nexus-secret-missing", registry: "Nexus", failure: "the secret does not exist", image: nexusName + "/team/app:1.0",
			secrets: noSuchSecret(), want: secretGone,
		},
		cell{
			row: "kubeadm-nexus-no-right", registry: "Nexus", failure: "the user may not read", image: nexusName + "/team/app:1.0", want: noRight,
		}.pullSecret(guestPassword),
		cell{
			row: "kubeadm-gitlab-tag", registry: "GitLab", failure: "no such tag", image: gitlabName + "/team/app:1.1", want: noSuchTag,
		}.pullSecret(memberPassword),
		{
			row: "kubeadm-gitlab-no-secret", registry: "GitLab", failure: "private, no secret", image: gitlabName + "/team/app:1.0", want: noLogin,
		},
		cell{
			row: "kubeadm-gitlab-wrong-password", registry: "GitLab", failure: "deploy token revoked", image: gitlabName + "/team/app:1.0",
			want: wrongPassword,
		}.pullSecret(strangerPassword),
		cell{
			row: "kubeadm-gitlab-scope", registry: "GitLab", failure: "the token lacks `read_registry`", image: gitlabName + "/team/app:1.0",
			want: "cluster-config|undetermined AccessForbidden|AccessDeniedOrMissing likely",
		}.pullSecret(guestPassword),
	}
}

// kubeadmHostedCells are those of registries in the cloud.
func kubeadmHostedCells() []cell {
	return []cell{
		cell{
			row: "kubeadm-ghcr-tag", registry: "GHCR", failure: "no such tag", image: ghcrName + "/team/app:1.1", want: noSuchTag,
		}.pullSecret(memberPassword),
		{
			// GHCR answers the same for a package that does not exist.
			row: "kubeadm-ghcr-no-secret", registry: "GHCR", failure: "private, no secret", image: ghcrName + "/team/app:1.0",
			want: noLogin, never: []string{"* CredentialsMissing confirmed"},
		},
		{
			row: "kubeadm-ghcr-typo", registry: "GHCR", failure: "no such package, no secret", image: ghcrName + "/public/ap:1.0",
			want: noLogin, never: []string{"* CredentialsMissing confirmed"},
		},
		cell{
			row: "kubeadm-ghcr-repository", registry: "GHCR", failure: "no such package, right token", image: ghcrName + "/team/ap:1.0",
			want: noSuchRepository,
		}.pullSecret(memberPassword),
		cell{
			// Without the secret the pull would work: the kubelet does not try that.
			row: "kubeadm-ghcr-public", registry: "GHCR", failure: "public, and the secret's token has expired",
			image: ghcrName + "/public/app:1.0", noFix: "grant pull access",
			want: "cluster-config AccessForbidden|CredentialsRejected|CredentialsExpired likely",
		}.pullSecret(strangerPassword),
		cell{
			// GHCR answers 403 both to a token that has expired and to one without a right.
			row: "kubeadm-ghcr-expired", registry: "GHCR", failure: "token expired", image: ghcrName + "/team/app:1.0",
			want: "cluster-config AccessForbidden|AccessDeniedOrMissing|CredentialsRejected likely",
		}.pullSecret(strangerPassword),
		cell{
			row: "kubeadm-ghcr-no-right", registry: "GHCR", failure: "the token may not read", image: ghcrName + "/team/app:1.0", want: noRight,
		}.pullSecret(guestPassword),
		{
			row: "kubeadm-quay-no-secret", registry: "Quay", failure: "private, no secret", image: quayName + "/team/app:1.0", want: noLogin,
		},
		cell{
			row: "kubeadm-quay-robot-gone", registry: "Quay", failure: "the robot was deleted", image: quayName + "/team/app:1.0",
			want: wrongPassword,
		}.pullSecret(strangerPassword),
		cell{
			row: "kubeadm-quay-no-right", registry: "Quay", failure: "the robot may not read", image: quayName + "/team/app:1.0",
			want: "cluster-config AccessForbidden|AccessDeniedOrMissing likely|confirmed",
		}.pullSecret(guestPassword),
		{
			row: "kubeadm-docker-hub-tag", registry: "Docker Hub", failure: "no such tag", image: hubNames + "/library/nginx:1.72", want: noSuchTag,
		},
		{
			row: "kubeadm-docker-hub-no-secret", registry: "Docker Hub", failure: "private or missing, no secret",
			image: hubNames + "/team/app:1.0", want: "cluster-config AccessDeniedOrMissing confirmed|likely",
		},
		cell{
			row: "kubeadm-docker-hub-wrong-password", registry: "Docker Hub", failure: "wrong password", image: hubNames + "/team/app:1.0",
			want: wrongPassword,
		}.pullSecret(strangerPassword),
		{
			row: "kubeadm-docker-hub-other-server", registry: "Docker Hub", failure: "the secret is for registry-1.docker.io",
			image: hubNames + "/team/app:1.0", secrets: secret("registry-1.docker.io", "puller", memberPassword),
			want: "cluster-config PullSecretOtherRegistry likely|confirmed",
			says: "exists",
		},
		{
			row: "kubeadm-docker-hub-secret-missing", registry: "Docker Hub", failure: "the secret does not exist",
			image: hubNames + "/team/app:1.0", secrets: noSuchSecret(), want: secretGone,
			says: "exists",
		},
		{
			row: "kubeadm-docker-hub-limit", registry: "Docker Hub", failure: "rate limit, no login",
			image: hubNames + "/library/limited:1.0", want: "registry RateLimited likely|confirmed",
		},
		{
			row: "kubeadm-ecr-no-provider", registry: "Amazon ECR", failure: "no provider, no secret", image: ecrName + "/team/app:1.0",
			want: "node-infrastructure|undetermined|cluster-config CredentialsMissing likely",
		},
		cell{
			row: "kubeadm-ecr-expired", registry: "Amazon ECR", failure: "the secret's token has expired", image: ecrName + "/team/app:1.0",
			user: "AWS", want: "cluster-config CredentialsExpired confirmed",
		}.pullSecret(ecrExpired),
	}
}

func k3sCells() []cell {
	return []cell{
		{
			row: "k3s-ecr-no-login", registry: "Amazon ECR", failure: "no provider, no secret", image: ecrName + "/team/app:1.0",
			want: "node-infrastructure|undetermined CredentialsMissing likely",
		},
		{
			row: "k3s-ecr-tag", registry: "Amazon ECR", failure: "no such tag, login by a provider", image: ecrName + "/team/app:1.1",
			user: "AWS", kubelet: []string{ecrMember}, want: "cluster-config TagNotFound likely",
		},
		{
			row: "k3s-ecr-role", registry: "Amazon ECR", failure: "the nodes' role may not pull", image: ecrName + "/team/app:1.0",
			user: "AWS", kubelet: []string{ecrGuest}, want: nodeLacksRight,
			todo: "the kubelet had a login: it got 403, and an anonymous request gets 401",
		},
		cell{
			row: "k3s-harbor-tag", registry: "Harbor", failure: "no such tag, login by a secret", image: harborName + "/team/app:1.1",
			want: noSuchTag,
		}.pullSecret(memberPassword),
		{
			row: "k3s-harbor-registries-yaml", registry: "Harbor", failure: "wrong password in registries.yaml",
			image: harborNode + "/team/app:1.0", want: nodeLoginWrong, noFix: "config.toml", says: "registries.yaml",
		},
		{
			row: "k3s-harbor-no-secret", registry: "Harbor", failure: "private, no secret", image: harborName + "/team/app:1.0",
			want: "cluster-config CredentialsMissing|AccessDeniedOrMissing likely",
		},
		cell{
			row: "k3s-harbor-wrong-password", registry: "Harbor", failure: "wrong password in the secret", image: harborName + "/team/app:1.0",
			want: "cluster-config CredentialsRejected likely|confirmed",
		}.pullSecret(strangerPassword),
		{
			row: "k3s-docker-hub-limit", registry: "Docker Hub", failure: "rate limit, no login", image: hubNames + "/library/limited:1.0",
			want: "registry RateLimited likely|confirmed", noFix: "certs.d", says: "registries.yaml",
		},
		{
			row: "k3s-docker-hub-no-secret", registry: "Docker Hub", failure: "private or missing, no secret",
			image: hubNames + "/team/app:1.0", want: "cluster-config|undetermined AccessDeniedOrMissing likely",
		},
	}
}

func rke2Cells() []cell {
	return []cell{
		{
			row: "rke2-ecr-tag", registry: "Amazon ECR", failure: "no such tag", image: ecrName + "/team/app:1.1",
			provider: ecrMember, kubelet: []string{ecrMember}, want: noSuchTag,
		},
		{
			row: "rke2-ecr-provider-fails", registry: "Amazon ECR", failure: "the provider fails", image: ecrName + "/team/app:1.0",
			provider: "fails", want: providerDown, noFix: "journalctl -u kubelet",
		},
		{
			row: "rke2-harbor-registries-yaml", registry: "Harbor", failure: "wrong password in registries.yaml",
			image: harborNode + "/team/app:1.0", want: nodeLoginWrong, noFix: "config.toml", says: "registries.yaml",
		},
		{
			row: "rke2-ghcr-no-secret", registry: "GHCR", failure: "private, no secret", image: ghcrName + "/team/app:1.0",
			want: noLogin, never: []string{"* CredentialsMissing confirmed"},
		},
	}
}

func talosCells() []cell {
	return []cell{
		{
			row: "talos-ecr-no-login", registry: "Amazon ECR", failure: "no provider, no secret", image: ecrName + "/team/app:1.0",
			want: "node-infrastructure|undetermined CredentialsMissing likely",
		},
		{
			row: "talos-ghcr-no-secret", registry: "GHCR", failure: "private, no secret", image: ghcrName + "/team/app:1.0",
			want: "cluster-config|undetermined CredentialsMissing|AccessDeniedOrMissing likely",
		},
		cell{
			row: "talos-ghcr-tag", registry: "GHCR", failure: "no such tag, login by a secret", image: ghcrName + "/team/app:1.1",
			want: noSuchTag,
		}.pullSecret(memberPassword),
		{
			row: "talos-docker-hub-limit", registry: "Docker Hub", failure: "rate limit, no login", image: hubNames + "/library/limited:1.0",
			want: "registry RateLimited likely|confirmed", noFix: "/etc/cri/", says: "machine",
		},
		{
			row: "talos-harbor-machine-config", registry: "Harbor", failure: "wrong password in the machine's configuration",
			image: harborNode + "/team/app:1.0", want: nodeLoginWrong, noFix: "/etc/cri/", says: "machine",
		},
	}
}
