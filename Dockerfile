# The gateway on Debian's DPDK. Build:   docker build -t vtepd .
# Run, with a config that names the devices:
#
#   docker run --network host --cap-add NET_ADMIN --cap-add NET_RAW --cap-add IPC_LOCK --cap-add SYS_NICE \
#       --device /dev/net/tun -v /dev/hugepages:/dev/hugepages -v ./gateway.toml:/etc/vtepd/vtepd.toml:ro vtepd
#
# and for NICs on vfio-pci also --device /dev/vfio, for AF_XDP also --cap-add SYS_ADMIN. SYS_NICE is for DPDK's memory
# policy. No file of a hugepage is left behind, also where the container is killed.

FROM debian:bookworm-slim AS build
WORKDIR /src
# The package list first: as long as it stays the same, so does this layer.
COPY dpdk-config/packages dpdk-config/install dpdk-config/
RUN dpdk-config/install build && rm -rf /var/lib/apt/lists/*
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
RUN cargo build --locked --release
# What the daemon needs at run time, by name of Debian package: the libraries it links, and the drivers DPDK loads.
RUN mkdir /out && cp target/release/vtepd target/release/vtepctl /out/ \
    && { ldd target/release/vtepd | awk '$3 ~ /^\// { print $3 }' | xargs -n 1 readlink -f | xargs dpkg-query -S; \
         dpkg-query -W -f '${Package}:\n' 'librte-mempool-ring*' 'librte-bus-pci*' 'librte-bus-vdev*' \
            'librte-net-tap*' 'librte-net-af-packet*' 'librte-net-af-xdp*' 'librte-net-null*' 'librte-net-pcap*' \
            'librte-net-ring*' 'librte-net-memif*' 'librte-net-vhost*' 'librte-net-virtio*' 'librte-net-vmxnet3*' \
            'librte-net-e1000*' 'librte-net-ixgbe*' 'librte-net-i40e*' 'librte-net-iavf*' 'librte-net-ice*' \
            'librte-net-mlx5*' 'librte-net-bnxt*' 'librte-net-ena*'; } \
    | cut -d : -f 1 | sort -u > /out/packages

FROM debian:bookworm-slim
COPY --from=build /out/packages /usr/share/vtepd/packages
RUN apt-get update -q \
    && xargs -a /usr/share/vtepd/packages env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/vtepd /out/vtepctl /usr/local/bin/
# Both start: nothing they link is missing.
RUN vtepctl --version && vtepd --version
ENTRYPOINT ["/usr/local/bin/vtepd"]
CMD ["--config", "/etc/vtepd/vtepd.toml"]
