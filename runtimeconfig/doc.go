// Package runtimeconfig reads how containerd is configured to reach registries.
//
// [RegistryConfig.Hosts] lists the hosts that containerd contacts for a domain,
// from hosts.toml, Docker's certificate directories or registry.mirrors, by
// containerd's own rules.
package runtimeconfig
