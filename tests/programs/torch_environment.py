"""Prints, as JSON, the variables that PyTorch reads its allocator settings from: in this
process as it starts, in one that subprocess starts, in one that is given an environment of its
own, and in a worker that multiprocessing spawns. Arguments NAME=VALUE are set in os.environ
before the last three, as a script does; NAME alone takes it away."""

import json
import multiprocessing
import os
import subprocess
import sys

NAMES = [
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
    "RDNAFIX_TORCH_ADDED",
]


def here(_=None):
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def of_subprocess(**options):
    command = [sys.executable, __file__, "--here"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout
    return json.loads(out)


def main():
    if sys.argv[1:] == ["--here"]:
        print(json.dumps(here()))
        return
    found = {"main": here()}
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        if equals:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    found["subprocess"] = of_subprocess()
    kept = {name: os.environ[name] for name in os.environ if name not in NAMES}
    found["emptied"] = of_subprocess(env=kept)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found["worker"] = pool.map(here, [None])[0]
    # A forked child starts no program: it has what this process has.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found["forked"] = pool.map(here, [None])[0]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
