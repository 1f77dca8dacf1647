# A copy of the static binary that `make build` left in bin/, and nothing else:
# no shell, no CA bundle (the node's own is used), no resolver configuration.
# For several architectures, build with --platform after
# `make build GOARCH=arm64`.
FROM scratch
ARG TARGETARCH=amd64
COPY bin/pullprobe-linux-${TARGETARCH} /pullprobe
ENTRYPOINT ["/pullprobe"]
