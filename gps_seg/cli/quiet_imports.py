"""Imports MMSegmentation for the commands, without the lines that it prints to everybody."""

import contextlib
import io
import warnings

try:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # Compiled operations of MMCV, which nothing here needs.
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformable')
        import mmseg.datasets
        import mmseg.models  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(
        f'error: {error}. This command needs mmengine, mmcv and mmsegmentation: '
        "pip install 'gps-seg[mm]' (see docs/install.md beside an OpenMMLab installation)"
    ) from error
