# docker build -t metalconv . && docker run --rm metalconv bench baseline
FROM debian:12 AS build
COPY . /metalconv
WORKDIR /metalconv
RUN ./run --version && cmake --install build/release --prefix /opt/metalconv --component travel

FROM debian:12-slim
COPY --from=build /opt/metalconv /opt/metalconv
WORKDIR /work
ENTRYPOINT ["/opt/metalconv/bin/metalconv"]
