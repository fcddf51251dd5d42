# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
WORKDIR /app
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
COPY uv.lock pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY server server
COPY clients/python clients/python
# The lock file decides every version, that of uv included. uv goes again: it is no runtime dependency.
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir \
        "uv==$(awk '/^name = "uv"$/ {getline; gsub(/[^0-9.]/, ""); print}' uv.lock)" \
    && /opt/uv/bin/uv sync --frozen --no-dev --no-editable --compile-bytecode

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 pantler
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH
USER 10001
WORKDIR /home/pantler
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["pantler"]
CMD ["serve", "--listen", "0.0.0.0:50051", "--http-listen", "0.0.0.0:8080"]
