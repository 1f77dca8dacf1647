package report

// DockerHub is Docker Hub as image names have it. It serves its images under another name
// (containerd, core/remotes/docker, DefaultHost).
const (
	DockerHub     = "docker.io"
	dockerHubHost = "registry-1.docker.io"
)

// ServerOf returns the host that serves the images of a registry.
func ServerOf(registry string) string {
	if registry == DockerHub {
		return dockerHubHost
	}
	return registry
}

// Serves reports whether a host is the registry itself, and not a mirror of it.
func Serves(host, registry string) bool { return host == registry || host == ServerOf(registry) }
