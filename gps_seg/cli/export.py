"""`gps-seg export`: a tuned model in the formats of others."""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmseg.registry import DATASETS

from gps_seg.cli import quiet_imports  # noqa: F401  before whatever else imports MMSegmentation
from gps_seg.cli.errors import one_line_errors
from gps_seg.cli.models import A_MODEL, add_model_flags, source_of
from gps_seg.files import write_content
from gps_seg.files.errors import explained_write
from gps_seg.prediction.checkpoints import write_checkpoint
from gps_seg.prediction.classifier import ClassPredictor, is_classifier
from gps_seg.prediction.inputs import find_items
from gps_seg.prediction.loading import load_source
from gps_seg.prediction.model_card import model_card
from gps_seg.prediction.onnx_check import compare, input_size
from gps_seg.prediction.onnx_export import check_packages, graphs_of, write_graph
from gps_seg.prediction.pairs import Pair, pairs_of_config
from gps_seg.prediction.pipeline import dataset_of
from gps_seg.prediction.predictor import Predictor, Sample
from gps_seg.prediction.sources import Source

SUFFIXES = {'pth': '.pth', 'safetensors': '.safetensors', 'onnx': '.onnx', 'card': '.md'}
NUM_IMAGES = 8


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `to` is known from the suffix where it is not given."""
    parser = argparse.ArgumentParser(
        prog='gps-seg export',
        description='Write a tuned model as a stock checkpoint, as ONNX, or as a model card.',
        epilog='SAM becomes two ONNX files: NAME.encoder.onnx and NAME.decoder.onnx.',
    )
    parser.add_argument('model', nargs='?', help=A_MODEL)
    add_model_flags(parser)
    parser.add_argument(
        '--to',
        choices=list(SUFFIXES),
        help='pth or safetensors: base and delta as one checkpoint of the stock model; onnx; card: '
        'a page about the model in Markdown (default: as the suffix of FILE says)',
    )
    parser.add_argument(
        '-o', '--out', type=Path, required=True, metavar='FILE', help='what to write'
    )
    parser.add_argument(
        '--images',
        metavar='FOLDER',
        help="images that ONNX files are checked on (default: the config's test split)",
    )
    parser.add_argument(
        '--num-images',
        type=int,
        default=NUM_IMAGES,
        metavar='N',
        help=f'how many of them (default: {NUM_IMAGES})',
    )
    parser.add_argument('--force', action='store_true', help='overwrite existing files')
    arguments = parser.parse_args(argv)
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
    arguments.to = arguments.to or by_suffix.get(arguments.out.suffix)
    if arguments.to is None:
        parser.error(f'{arguments.out}: end it with one of {", ".join(by_suffix)}, or give --to')
    if arguments.out.suffix != SUFFIXES[arguments.to]:
        suffix = SUFFIXES[arguments.to]
        parser.error(f'{arguments.out}: with --to {arguments.to} it ends with {suffix}')
    if arguments.num_images < 1:
        parser.error('--num-images is at least 1: files that were not checked are not kept')
    return arguments


def images_to_check(arguments: argparse.Namespace, source: Source) -> list[Pair]:
    """Images spread evenly over a folder or the test split, without their masks.

    Raises FileNotFoundError where there are none.
    """
    if arguments.images is not None:
        items = find_items([arguments.images], arguments.out)
        found = [Pair(item.path, item.path) for item in items if not item.is_volume]
        if not found:
            raise FileNotFoundError(f'{arguments.images} holds volumes alone; name images')
    else:
        try:
            found = _test_images(source)
        except OSError as error:
            raise FileNotFoundError(
                f'no images to check the files on ({error}); name some: --images FOLDER'
            ) from error
    step = max(len(found) / arguments.num_images, 1)
    return [found[int(place * step)] for place in range(min(arguments.num_images, len(found)))]


def _test_images(source: Source) -> list[Pair]:
    """The image files of the config's test split."""
    if not is_classifier(source.config):
        return pairs_of_config(source.config)
    dataset = DATASETS.build({**dataset_of(source.config).to_dict(), 'pipeline': []})
    paths = [Path(dataset.get_data_info(place)['img_path']) for place in range(len(dataset))]
    return [Pair(path, path) for path in paths if path.is_file()]


def onnx_metadata(predictor: Predictor, height: int, width: int) -> dict[str, str]:
    """What a user of the files has to know, in the files."""
    first = 'red' if predictor.model.data_preprocessor._channel_conversion else 'blue'
    return {
        'images': f'(batch, 3, {height}, {width}) float32 in [0, 255], {first} first; not '
        'normalised, since the graph does it',
        'logits': 'of the classes; the largest'
        if isinstance(predictor, ClassPredictor)
        else 'resize bilinearly to the size of the image; one channel: foreground above 0, '
        'several: the largest',
        'classes': json.dumps(predictor.classes.names),
        'palette': json.dumps(predictor.classes.palette),
    }


def export_onnx(
    predictor: Predictor, samples: Sequence[Sample], out: Path, *, force: bool
) -> tuple[list[Path], str]:
    """Write and check the files. Returns them, and how well they agree with the model.

    Nothing is kept where one of them disagrees: raises ValueError that says how much.
    """
    height, width = input_size(samples)
    graphs = graphs_of(predictor.model, height, width)
    places = {name: out.with_name(f'{out.stem}.{name}.onnx') if name else out for name in graphs}
    for path in places.values():
        refuse_existing(path, force=force)
    metadata = onnx_metadata(predictor, height, width)
    with explained_write(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}.') as folder:
            files = {name: Path(folder, path.name) for name, path in places.items()}
            for name, graph in graphs.items():
                write_graph(files[name], graph, metadata)
            agreement = compare(predictor, graphs, files, samples)
            if not agreement.is_good:
                raise ValueError(
                    f'the ONNX files do not agree with the model, so they are not kept: {agreement}'
                )
            for name, file in files.items():
                os.replace(file, places[name])
    return list(places.values()), str(agreement)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise FileExistsError where a file would be overwritten without `force`."""
    if path.exists() and not force:
        raise FileExistsError(f'{path} exists; choose another name, or overwrite with --force')


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `gps-seg export` and tools/export.py."""
    arguments = parse_arguments(argv)
    source = source_of(arguments, arguments.model)
    out: Path = arguments.out
    if arguments.to == 'card':
        refuse_existing(out, force=arguments.force)
        write_content(out, model_card(source))
        print(f'wrote {out}')
        return 0
    if arguments.to == 'onnx':
        check_packages()
        images = images_to_check(arguments, source)
        # Traced on the CPU unless asked otherwise: the files are for any device.
        place = arguments.device or 'cpu'
        predictor = load_source(source, base=arguments.base, device=place)
        samples = [
            predictor.read(pair.image, pair.entry) if pair.entry else predictor.read(pair.image)
            for pair in images
        ]
        files, agreement = export_onnx(predictor, samples, out, force=arguments.force)
        print(f'wrote {" and ".join(map(str, files))}: {agreement}')
        return 0
    refuse_existing(out, force=arguments.force)
    predictor = load_source(source, base=arguments.base, device=arguments.device)
    print(f'wrote {out}, for {write_checkpoint(out, predictor, arguments.to)}')
    return 0
