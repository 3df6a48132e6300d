# The gateway (default) and, as --target emulator, the Segmind emulator for development clusters.
#   buildah build -t finetune-gateway .       or: docker build -t finetune-gateway .
#   buildah build --target emulator -t segmind-emulator .
# With the same sources, base image and packages, --timestamp N (buildah) or SOURCE_DATE_EPOCH=N
# (BuildKit) gives the same image again.

FROM docker.io/library/debian:12-slim AS tools
ENV LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
WORKDIR /src
COPY deploy/packages.sh deploy/packages.sh
RUN deploy/packages.sh build && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY deploy/image-root.sh deploy/image-root.sh

FROM tools AS emulator-build
RUN deploy/packages.sh local && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY CMakeLists.txt CMakePresets.json ./
COPY deploy/package deploy/package
COPY deploy/image_main.cc deploy/image_main.cc
COPY proto proto
COPY server server
COPY client client
COPY tests tests
ARG SOURCE_DATE_EPOCH=0
RUN cmake --preset bench && cmake --build .build/bench --target segmind-emulator \
    && deploy/image-root.sh /image .build/bench/bin/segmind-emulator

FROM scratch AS emulator
COPY --from=emulator-build /image/ /
ENV HOME=/tmp SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 8090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/segmind-emulator"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="segmind-emulator" \
      org.opencontainers.image.description="A stand-in for Segmind's fine-tuning API, to develop against" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:12-slim"

FROM tools AS gateway-build
COPY CMakeLists.txt CMakePresets.json ./
COPY deploy/package deploy/package
COPY deploy/image_main.cc deploy/image_main.cc
COPY proto proto
COPY server server
COPY client client
ARG SOURCE_DATE_EPOCH=0
RUN cmake --preset release && cmake --build .build/release --target image-program \
    && deploy/image-root.sh /image .build/release/bin/image-program=finetune-gateway,finetune

# No shell, no package manager, no compiler: the two programs, what they load, and CA certificates.
FROM scratch AS gateway
COPY --from=gateway-build /image/ /
ENV HOME=/var/lib/finetune-gateway \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    FINETUNE_GATEWAY_STORE=sqlite:/var/lib/finetune-gateway/gateway.db
USER 65532:65532
EXPOSE 50051 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/finetune-gateway"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="finetune-gateway" \
      org.opencontainers.image.description="One gRPC gateway to Segmind fine-tuning for a company's services" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:12-slim"
