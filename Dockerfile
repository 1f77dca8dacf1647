# The static binaries that `make build` wrote to bin/, and nothing else: no shell, no
# CA bundle (the node's own is used), no resolver configuration.
# For several architectures: make build GOARCH=amd64, make build GOARCH=arm64, then
# build with --platform linux/amd64,linux/arm64; the builder sets TARGETARCH.
FROM scratch
ARG TARGETARCH
COPY bin/pullprobe-linux-${TARGETARCH} /pullprobe
COPY bin/pullprobe-fleet-linux-${TARGETARCH} /pullprobe-fleet
ENTRYPOINT ["/pullprobe"]
