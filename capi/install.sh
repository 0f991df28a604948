#!/usr/bin/env bash
# Builds the C library and puts it, its header and what CMake and pkg-config look for under a folder.
#
#   install.sh PREFIX
set -euo pipefail
[ $# = 1 ] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; }
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' capi/Cargo.toml)

cargo build --release --quiet -p wgpu-optim-capi
mkdir -p "$prefix"/{include,lib/pkgconfig,lib/cmake/wgpu_optim}
cp capi/include/wgpu_optim.h "$prefix/include"
built=${CARGO_TARGET_DIR:-target}/release
for library in libwgpu_optim_c.a libwgpu_optim_c.so libwgpu_optim_c.dylib wgpu_optim_c.lib wgpu_optim_c.dll; do
    [ ! -e "$built/$library" ] || cp "$built/$library" "$prefix/lib"
done

# What Rust's standard library wants beside the static one.
case "$(uname -s)" in
    Darwin) system='-framework CoreFoundation -liconv' ;;
    MINGW* | MSYS*) system='-lws2_32 -luserenv -lntdll' ;;
    *) system='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc' ;;
esac
sed -e "s|@prefix@|$prefix|; s|@version@|$version|; s|@system@|$system|" capi/wgpu_optim.pc.in \
    >"$prefix/lib/pkgconfig/wgpu_optim.pc"
sed -e "s|@version@|$version|; s|@system@|$system|" capi/wgpu_optimConfig.cmake.in \
    >"$prefix/lib/cmake/wgpu_optim/wgpu_optimConfig.cmake"
echo "wgpu-optim $version is in $prefix"
