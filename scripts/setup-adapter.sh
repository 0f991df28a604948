#!/usr/bin/env bash
# Makes sure that there is an adapter to run on: where no usable Vulkan driver is found, installs
# Mesa's software one (lavapipe) with apt, or says what to do. Quick when there is nothing to do.
#
#   setup-adapter.sh              for the demo
#   setup-adapter.sh --test       also a second software adapter (GL) and spirv-val, which the tests use
#   setup-adapter.sh --mpi        also what mpi/ is built with and runs under
#   setup-adapter.sh --networks   also the data of the papers' experiments with networks
set -euo pipefail

case "$(uname -s)" in
    Linux) ;;
    *) exit 0 ;; # Metal and DX12 are part of their systems
esac

# Not grep -q, which would end ldconfig early and fail the pipe.
has_library() { PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -F "$1" >/dev/null; }

# A Vulkan driver: the loader, and a driver for a GPU that is there or for the CPU.
has_driver() {
    has_library libvulkan.so.1 || return 1
    if [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]; then
        return 0 # the user chose
    fi
    local drivers
    drivers=$(find /etc/vulkan/icd.d /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d \
        "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan/icd.d" -name '*.json' 2>/dev/null || true)
    case "$drivers" in
        '') return 1 ;;
        *lvp* | *swiftshader*) return 0 ;;
    esac
    # Drivers of hardware do nothing in a container that was given none.
    compgen -G '/dev/dri/renderD*' >/dev/null || compgen -G '/dev/nvidia[0-9]*' >/dev/null || [ -e /dev/dxg ]
}

needed=() wanted=()
has_driver || needed+=(mesa-vulkan-drivers)
command -v cc >/dev/null || needed+=(gcc libc6-dev) # Rust's linker
if [ "${1:-}" = --test ]; then
    if ! has_library libEGL.so.1 || ! compgen -G '/usr/lib*/*/dri/swrast_dri.so' >/dev/null; then
        wanted+=(libegl1 libgl1-mesa-dri)
    fi
    command -v spirv-val >/dev/null || wanted+=(spirv-tools)
fi
if [ "${1:-}" = --networks ]; then
    command -v bible >/dev/null || needed+=(bible-kjv)
    [ -d /usr/share/datasets/fashion-mnist ] || needed+=(dataset-fashion-mnist)
fi
if [ "${1:-}" = --mpi ]; then
    command -v mpirun >/dev/null || needed+=(openmpi-bin)
    command -v mpicc >/dev/null || needed+=(libopenmpi-dev)
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || needed+=(libclang-dev)
fi
if [ ${#needed[@]} = 0 ] && [ ${#wanted[@]} = 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
fi
install() {
    echo "setup: installing $*"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if command -v apt-get >/dev/null && { [ ${#as_root[@]} = 0 ] || command -v sudo >/dev/null; }; then
    if [ ${#needed[@]} = 0 ]; then
        # The tests do without, and say so.
        install "${wanted[@]}" || echo "setup: could not install ${wanted[*]}; going on without" >&2
        exit 0
    fi
    if install "${needed[@]}" "${wanted[@]}"; then
        exit 0
    fi
fi
if [ ${#needed[@]} = 0 ]; then
    exit 0
fi
cat >&2 <<MESSAGE
setup: missing on this machine: ${needed[*]}
Install your GPU's Vulkan driver, or Mesa's software one, and run this again:
  Debian, Ubuntu   sudo apt-get install mesa-vulkan-drivers gcc libc6-dev
  Fedora           sudo dnf install mesa-vulkan-drivers vulkan-loader gcc
  Arch             sudo pacman -S vulkan-swrast vulkan-icd-loader gcc
  Alpine           sudo apk add mesa-vulkan-swrast vulkan-loader build-base
MESSAGE
exit 1
