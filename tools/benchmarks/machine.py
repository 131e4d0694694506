"""What measured figures depend on."""

import platform

import torch


def machine(device: str) -> dict[str, str]:
    """What the figures depend on."""
    name = torch.cuda.get_device_name() if device == 'cuda' else platform.processor()
    return {
        'device': f'{device} {name}'.strip(),
        'threads': str(torch.get_num_threads()),
        'torch': torch.__version__,
        'python': platform.python_version(),
    }
