#!/usr/bin/env python3
"""A small PyTorch training loop, for a machine with an AMD GPU and PyTorch for ROCm.

    python3 examples/train.py                      # stock
    rdnafix run -- python3 examples/train.py       # with rdnafix

It trains a small convolutional network on random images that a DataLoader hands over in
pinned memory, and prints the loss and the time of each step. The seed is fixed, so the
losses and the times of the two runs can be compared.

Two things are different with rdnafix (docs/pytorch.md): pinned memory, and the defaults of
PyTorch's allocator, of which the program prints what it finds. Tensors on the GPU come from
hipMalloc, whose memory is non-coherent already.

Exit code: 0, or 2 where PyTorch, its ROCm build or the GPU is missing.
"""

import argparse
import os
import statistics
import sys
import time


def missing(what, way_out):
    """Says what is missing and what to do, and ends the program."""
    print(f"train.py: {what}\n{way_out}", file=sys.stderr)
    sys.exit(2)


def import_torch():
    """PyTorch, imported after the command line is read so that --help works without it."""
    try:
        import torch
        import torch.utils.data
    except ImportError as error:
        missing(
            f"PyTorch does not import: {error}",
            "Install PyTorch for ROCm (the selector on the PyTorch site has the command).",
        )
    return torch


def pick_device(torch, use_cpu):
    """The GPU, or the CPU where that was asked for."""
    if use_cpu:
        return torch.device("cpu")
    if torch.version.hip is None:
        missing(
            f"this PyTorch ({torch.__version__}) is not built for ROCm: torch.version.hip is None",
            "Install PyTorch for ROCm, or try the loop itself with --cpu.",
        )
    if not torch.cuda.is_available():
        missing(
            f"PyTorch for ROCm {torch.version.hip} finds no GPU",
            "Check with rocminfo that ROCm sees it, and that your user may open /dev/kfd "
            "(groups render and video).",
        )
    return torch.device("cuda")


def show_settings(torch, device):
    """What PyTorch's allocator is told, and on the GPU whether host memory is pinned."""
    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        value = os.environ.get(name)
        print(f"{name} is not set" if value is None else f"{name}={value}")
    if device.type == "cuda":
        print(f"pinned memory: {torch.empty(1, pin_memory=True).is_pinned()}")


def build_model(nn):
    """A network small enough for any of these GPUs."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 10),
    )


def train(torch, device, steps, batch, workers):
    """Trains and prints one line per step."""
    torch.manual_seed(0)
    images = torch.randn(steps * batch, 3, 32, 32)
    labels = torch.randint(0, 10, (steps * batch,))
    on_gpu = device.type == "cuda"
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=batch, pin_memory=on_gpu, num_workers=workers
    )
    model = build_model(torch.nn).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()
    times = []
    for step, (image, label) in enumerate(loader):
        start = time.perf_counter()
        image = image.to(device, non_blocking=True)
        label = label.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = criterion(model(image), label)
        loss.backward()
        optimizer.step()
        value = loss.item()  # waits for the GPU, so the time below is that of the whole step
        times.append(time.perf_counter() - start)
        print(f"step {step:3}: loss {value:.6f}, {times[-1] * 1000:.2f} ms")
    # The first steps choose and compile kernels.
    settled = times[max(1, len(times) // 4) :] or times
    print(f"median step: {statistics.median(settled) * 1000:.2f} ms")


def main():
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="training steps (default: 40)")
    parser.add_argument("--batch", type=int, default=64, help="images per step (default: 64)")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that load the data (default: none)"
    )
    parser.add_argument("--cpu", action="store_true", help="train on the CPU instead")
    options = parser.parse_args()
    if options.steps < 1 or options.batch < 1:
        parser.error("--steps and --batch must be at least 1")
    if options.workers < 0:
        parser.error("--workers must not be negative")
    torch = import_torch()
    device = pick_device(torch, options.cpu)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"PyTorch {torch.__version__}, HIP {torch.version.hip}, on {name}")
    show_settings(torch, device)
    train(torch, device, options.steps, options.batch, options.workers)
    print("DONE")


if __name__ == "__main__":
    main()
