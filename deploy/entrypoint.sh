#!/bin/sh
# Runs `logloom` with the kernels that the image brings. They are copied to where the cache can be written, because numba
# takes none from a folder that it can't write to.
set -eu
mkdir -p "$NUMBA_CACHE_DIR"
cp -R /opt/logloom/kernels/. "$NUMBA_CACHE_DIR"
exec logloom "$@"
