#!/usr/bin/env bash
# On a machine with one NVIDIA card: the GPU tests, the GPU benchmarks, a training of so many minutes.
#
#     TRAIN_PACK=train.npz VALIDATION_PACK=val.npz benchmarks/gpu.sh [MINUTES]
#     benchmarks/gpu.sh --tiny            everything on the CPU, tiny, in seconds
#
# Needs torch, scipy, h5py, scikit-image, accelerate, safetensors and pytest there. Packs are made
# with pack_volumes.py. Settings, from the environment:
#     OUT              results: log.txt, sampling.jsonl, metrics.jsonl, prior/ (default gpu-results)
#     WORK             the training's checkpoint; run again to resume it (default gpu-work)
#     PARTS            which of "tests benchmarks training" to run (default: all)
#     TRAIN_PACK, VALIDATION_PACK    volumes; without, synthetic chests
#     PRIOR            prior to time (default: the shipped one)
#     TRAIN_OPTIONS    more for gpu_train.py (default "--init chest": goes on from the shipped prior)
#     TEST_MINUTES, BENCHMARK_MINUTES     after which that part is ended (default 2 and 3)
#     WHEELS           a folder of wheels of what the machine lacks, such as diffusers
#     MAX_FILE_MB      cut a larger weight file into parts (default 16); cat joins them again
#     PYTHON           the interpreter (default python3)
# The training leaves its prior in OUT at every checkpoint, so that a call that is cut off has given
# something. A part that fails or is ended is reported and does not stop the next; the exit code
# shows whether any did.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

TINY=""
MINUTES=5
for argument in "$@"; do
    case "$argument" in
        --tiny) TINY=yes ;;
        -h|--help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        -*) echo "gpu.sh: unknown option $argument" >&2; exit 2 ;;
        *) MINUTES="$argument" ;;
    esac
done
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-gpu-results}"
WORK="${WORK:-gpu-work}"
PARTS="${PARTS:-tests benchmarks training}"
TEST_MINUTES="${TEST_MINUTES:-2}"
BENCHMARK_MINUTES="${BENCHMARK_MINUTES:-3}"
MAX_FILE_MB="${MAX_FILE_MB:-16}"
mkdir -p "$OUT" "$WORK" || exit 1
OUT="$(cd "$OUT" && pwd)"
WORK="$(cd "$WORK" && pwd)"
LOG="$OUT/log.txt"
export PYTHONUNBUFFERED=1
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"

say() { echo "$*" | tee -a "$LOG"; }

within() {  # MINUTES COMMAND...: ended after so long, killed half a minute later
    local minutes="$1"
    shift
    if command -v timeout > /dev/null; then
        timeout --kill-after=30 "${minutes}m" "$@"
    else
        "$@"
    fi
}

for part in $PARTS; do
    case "$part" in
        tests|benchmarks|training) ;;
        *) echo "gpu.sh: PARTS has $part; it may have tests, benchmarks, training" >&2; exit 2 ;;
    esac
done

if [ -n "${WHEELS:-}" ]; then
    for wheel in "$WHEELS"/*.whl; do
        "$PYTHON" -m zipfile -e "$wheel" "$WORK/site" || exit 1
    done
    export PYTHONPATH="$PYTHONPATH:$WORK/site"
fi

if [ -n "$TINY" ]; then
    DEVICE=cpu
    MINUTES="${TINY_MINUTES:-0.02}"
    export OMP_NUM_THREADS=1
else
    DEVICE=cuda
    "$PYTHON" -c 'import torch; assert torch.cuda.is_available(), "torch sees no CUDA device"' \
        || exit 1
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader | tee -a "$LOG"
fi

gpu_tests() {  # every test that has cuda in its name, from the files that speak of it; none is of
    # the command line, whose libraries may not be there
    local files options=(-q -k cuda -W default -p no:cacheprovider)
    mapfile -t files < <(grep -rl --include='test_*.py' --exclude-dir=cli cuda tests)
    [ -n "$TINY" ] && options+=(--collect-only)
    within "$TEST_MINUTES" "$PYTHON" -m pytest "${options[@]}" "${files[@]}"
}

gpu_benchmarks() {
    local options=(--device "$DEVICE" -o "$OUT")
    [ -n "${PRIOR:-}" ] && options+=(--prior "$PRIOR")
    if [ -n "$TINY" ]; then
        options+=(--tiny)
    else
        options+=(--size 256 --slices 133 500 --rounds 5)
        [ -n "${VALIDATION_PACK:-}" ] && options=("$VALIDATION_PACK" "${options[@]}")
    fi
    within "$BENCHMARK_MINUTES" "$PYTHON" benchmarks/sampling.py "${options[@]}"
}

gpu_training() {  # its own clock ends it; half as long again means that it hangs
    local options=(--device "$DEVICE" --minutes "$MINUTES" -o "$WORK/training")
    options+=(--keep "$OUT" --max-file-mb "$MAX_FILE_MB")
    [ -n "${TRAIN_PACK:-}" ] && options+=(--train "$TRAIN_PACK")
    [ -n "${VALIDATION_PACK:-}" ] && options+=(--validation "$VALIDATION_PACK")
    if [ -n "$TINY" ]; then
        options+=(--tiny --synthetic 1 --batch-size 2)
    else
        TRAIN_OPTIONS="${TRAIN_OPTIONS:---init chest}"
    fi
    # shellcheck disable=SC2086  # several options in one variable
    within "$(awk "BEGIN {print 1.5 * $MINUTES + 1}")" \
        "$PYTHON" benchmarks/gpu_train.py "${options[@]}" ${TRAIN_OPTIONS:-}
}

FAILED=""
for part in $PARTS; do
    say "== $part"
    started=$SECONDS
    "gpu_$part" 2>&1 | tee -a "$LOG"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 0 ]; then
        say "== $part: done in $((SECONDS - started)) s"
    else
        FAILED="$FAILED $part"
        say "== $part: FAILED with exit code $status after $((SECONDS - started)) s"
    fi
done
if [ -n "$FAILED" ]; then
    say "failed:$FAILED"
    exit 1
fi
say "all parts done; results in $OUT"
