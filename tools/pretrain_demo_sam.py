"""Pretrain the demo's tiny SAM on drawn scenes: `python tools/pretrain_demo_sam.py`.

First it learns to segment the main object of a scene, half of the steps without a prompt and half
with its box. Then it learns to be prompted (`prompt='mixed'`): any object that a box, points or a
mask ask for, as SAM was trained; some images hold four small scenes, in which only a prompt tells
the objects apart; this part took 36 minutes on one core. The weights depend on the arguments,
`--threads` included, and on the versions of torch, NumPy and OpenCV alone. The shipped weights are
those of `--threads 1`.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Without tools/, whose select.py would hide the module of that name in the standard library.
sys.path[:] = [str(ROOT), *(path for path in sys.path if path != str(ROOT / 'tools'))]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.evaluator import Evaluator  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402
from torch import nn  # noqa: E402

import gps_seg.models  # noqa: E402, F401
from gps_seg.datasets.box_prompt import BoxPrompt  # noqa: E402
from gps_seg.datasets.object_prompts import ObjectPrompts, PackObjects  # noqa: E402
from gps_seg.datasets.procedural import draw_objects, four_scenes  # noqa: E402
from gps_seg.evaluation import ForegroundMetric  # noqa: E402
from gps_seg.files import load_tensors, save_tensors  # noqa: E402

WEIGHTS = ROOT / 'gps_seg' / 'models' / 'demo_sam.safetensors'
SIZE = 256
TRAIN, HELD_OUT = 0, 1  # the streams of scenes
FOUR_SCENES = 0.5  # the share of training images that hold four scenes
MAX_OBJECTS = 4  # asked about in one image
SETTINGS: tuple[str, ...] = ('steps', 'batch_size', 'lr', 'mixed_steps', 'mixed_batch_size')
SETTINGS += ('mixed_lr', 'seed', 'threads', 'images')
Batch = dict[str, list]


def draw_scenes(stream: int, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw scenes into memory: images (N, H, W, 3) uint8 RGB and masks (N, H, W) bool."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    masks = np.empty((count, SIZE, SIZE), bool)
    for index in range(count):
        rng = np.random.default_rng([stream, seed, index])
        images[index], masks[index] = draw_objects(rng, SIZE)
    return images, masks


def vary(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Another scene out of one: turned by a right angle, mirrored, its colour channels swapped."""
    turns = int(rng.integers(4))
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return image[..., rng.permutation(3)], mask


def pack(image: np.ndarray, mask: np.ndarray, draw: tuple[int, ...], jitter: float) -> Batch:
    """One sample as a data set's pipeline gives it: BGR input, mask and box prompt."""
    results = {'gt_seg_map': mask, 'img': image, 'draw': draw}
    box = BoxPrompt(jitter=jitter).transform(results)['box_prompt']
    sample = SegDataSample(metainfo=dict(ori_shape=mask.shape, box_prompt=box))
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(mask[None].astype(np.int64)))
    pixels = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    return dict(inputs=[torch.from_numpy(pixels)], data_samples=[sample])


def pack_objects(image: np.ndarray, objects: np.ndarray, draw: tuple[int, ...]) -> Batch:
    """One sample with prompts about its objects. objects: (H, W), numbers from 1 on."""
    results = {
        'img': np.ascontiguousarray(image[..., ::-1]),
        'gt_seg_map': (objects > 0).astype(np.uint8),
        'gt_object_map': objects,
        'draw': draw,
    }
    for step in (ObjectPrompts(max_objects=MAX_OBJECTS), PackObjects(meta_keys=('draw',))):
        results = step.transform(results)
    return {key: [value] for key, value in results.items()}


def collate(samples: list[Batch]) -> Batch:
    """Join samples to a batch."""
    return {key: [value for sample in samples for value in sample[key]] for key in samples[0]}


def training_batches(
    images: np.ndarray, masks: np.ndarray, *, seed: int, steps: int, batch_size: int
) -> Iterator[Batch]:
    """Random varied scenes with their boxes, `steps` batches of them."""
    for step in range(steps):
        rng = np.random.default_rng([2, seed, step])
        samples = []
        for position, index in enumerate(rng.choice(len(images), batch_size, replace=False)):
            image, mask = vary(rng, images[index], masks[index])
            samples.append(pack(image, np.ascontiguousarray(mask), (seed, step, position), 0.1))
        yield collate(samples)


def object_batches(
    images: np.ndarray, masks: np.ndarray, *, seed: int, steps: int, batch_size: int
) -> Iterator[Batch]:
    """Random varied scenes, alone or four in one image, with prompts about their objects."""
    for step in range(steps):
        rng = np.random.default_rng([3, seed, step])
        samples = []
        for position, index in enumerate(rng.choice(len(images), batch_size, replace=False)):
            image, mask = vary(rng, images[index], masks[index])
            objects = mask.astype(np.uint8)
            if rng.random() < FOUR_SCENES:
                others = rng.integers(len(images), size=3)
                scenes = [(image, mask), *(vary(rng, images[n], masks[n]) for n in others)]
                image, objects = four_scenes(*zip(*scenes, strict=True))
            samples.append(pack_objects(image, objects, (seed, step, position)))
        yield collate(samples)


def evaluate(model: nn.Module, images: np.ndarray, masks: np.ndarray, prompt: str) -> float:
    """The mean Dice of single images, in percent."""
    model.eval()
    model.prompt = prompt  # type: ignore[assignment]
    evaluator = Evaluator(ForegroundMetric())
    evaluator.dataset_meta = dict(classes=('background', 'object'))
    for start in range(0, len(images), 32):
        pairs = zip(images[start : start + 32], masks[start : start + 32], strict=True)
        batch = collate([pack(image, mask, (0, 0, 0), 0) for image, mask in pairs])
        with torch.no_grad():
            evaluator.process(model.test_step(batch))  # type: ignore[operator]
    model.train()
    return evaluator.evaluate(len(images))['mDice']


def optimizer_of(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW that decays weights, but no biases, norms, positions, tokens and embeddings."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim <= 1 or 'pos' in name or 'token' in name or 'embed.' in name
        (kept if plain else decayed).append(parameter)
    groups = [dict(params=decayed, weight_decay=0.02), dict(params=kept, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=learning_rate)


def rate(step: int, steps: int) -> float:
    """The share of the learning rate: a short linear rise, then a cosine to zero."""
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    model: nn.Module,
    batches: Iterator[Batch],
    *,
    steps: int,
    learning_rate: float,
    prompts: Sequence[str] = ('none', 'box'),
) -> None:
    """Train with the prompts in turn, one a step."""
    optimizer = optimizer_of(model, learning_rate)
    start, means = time.monotonic(), dict[str, float]()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group['lr'] = learning_rate * rate(step, steps)
        model.prompt = prompts[step % len(prompts)]  # type: ignore[assignment]
        data = model.data_preprocessor(batch, True)  # type: ignore[operator]
        losses = model(**data, mode='loss')
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, value in losses.items():
            means[name] = means.get(name, 0.0) + value.item() / 50
        if (step + 1) % 50 == 0:
            left = (time.monotonic() - start) / (step + 1) * (steps - step - 1)
            shown = '  '.join(f'{name} {mean:.3f}' for name, mean in means.items())
            print(f'step {step + 1}/{steps}  {shown}  {left:.0f} s left', flush=True)
            means.clear()


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=WEIGHTS)
    parser.add_argument('--steps', type=int, default=2400)
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--images', type=int, default=4000, help='scenes to draw for training')
    parser.add_argument('--held-out', type=int, default=200, help='scenes to evaluate on')
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--mixed-steps', type=int, default=2400)
    parser.add_argument('--mixed-batch-size', type=int, default=8)
    parser.add_argument('--mixed-lr', type=float, default=1e-3)
    parser.add_argument(
        '--after', type=Path, help='weights of --mixed-steps 0, to skip the first part'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=2)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(options.seed)
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / 'sam_demo.py').model
    model = MODELS.build({**config, 'checkpoint': None})

    print(f'drawing {options.images} scenes', flush=True)
    scenes = draw_scenes(TRAIN, options.seed, options.images)
    if options.after is None:
        steps = options.steps
        batches = training_batches(
            *scenes, seed=options.seed, steps=steps, batch_size=options.batch_size
        )
        train(model, batches, steps=steps, learning_rate=options.lr)
    else:
        model.load_state_dict(load_tensors(options.after)[0])
    steps = options.mixed_steps
    batches = object_batches(
        *scenes, seed=options.seed, steps=steps, batch_size=options.mixed_batch_size
    )
    train(model, batches, steps=steps, learning_rate=options.mixed_lr, prompts=['mixed'])

    held_out = draw_scenes(HELD_OUT, options.seed, options.held_out)
    scores = {f'mDice_{prompt}': evaluate(model, *held_out, prompt) for prompt in ('none', 'box')}
    print('on held-out scenes:', ', '.join(f'{name} {score:.2f}' for name, score in scores.items()))
    about = {name: f'{score:.2f}' for name, score in scores.items()}
    about |= {name: str(getattr(options, name)) for name in SETTINGS}
    save_tensors(options.out, model.state_dict(), {'format': 'pt', **about})
    print(f'wrote {options.out} ({options.out.stat().st_size / 1e6:.2f} MB)')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
