# Sourced by the scripts beside it: makes .venv at the root of the repository and installs lstmjax into it.

# prepare_environment [EXTRA]
#   Installs lstmjax, editable, with the dependencies that constraints.txt pins; EXTRA is "test" or nothing.
#   Does nothing if that was done before by the same Python from the same pyproject.toml and constraints.txt.
#   $PYTHON is the interpreter to use, python3 if not set.
prepare_environment() {
  local extra="${1:-}" python="${PYTHON:-python3}" wanted stamp
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "lstmjax needs Python 3.11 or newer, and $python is not: set PYTHON to one that is" >&2
    return 1
  fi
  wanted="$("$python" -c '
import hashlib, os, pathlib, sys
told = [sys.version, os.getcwd(), *(pathlib.Path(name).read_text() for name in ("pyproject.toml", "constraints.txt"))]
print(hashlib.sha256("\0".join(told).encode()).hexdigest())')"
  for stamp in ".venv/.lstmjax-$extra" .venv/.lstmjax-test; do # the one with the tests' tools serves all
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then return 0; fi
  done

  # One that another Python made, or whose making was interrupted, is made anew.
  if [[ $(.venv/bin/python -c 'import pip, sys; print(sys.version)' 2>/dev/null) != \
    "$("$python" -c 'import sys; print(sys.version)')" ]]; then
    echo "Making .venv with $("$python" -V)"
    # Some distributions ship Python without ensurepip; then pip comes from outside.
    "$python" -m venv --clear .venv >/dev/null 2>&1 || {
      "$python" -m venv --clear --without-pip .venv
      "$python" -m pip --python .venv/bin/python install --quiet pip
    }
  fi
  echo "Installing lstmjax and its dependencies (some minutes, once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".${extra:+[$extra]}"
  echo "$wanted" >".venv/.lstmjax-$extra"
}

# build_kernel
#   Compiles the native CPU kernel if it is not there yet, and says in one line whether it is. Without a C++ compiler
#   nothing fails: the JAX code runs instead.
build_kernel() {
  .venv/bin/python -m lstmjax.ops.build || true
}
