"""Training on the stored outputs of a frozen prefix."""

import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gps_seg.tuning.prefix_cache.calls import image_argument
from gps_seg.tuning.prefix_cache.filling import Filled
from gps_seg.tuning.prefix_cache.key import frozen_tensors, image_keys, precision, prefix_key
from gps_seg.tuning.prefix_cache.prefix import Prefix
from gps_seg.tuning.prefix_cache.records import Records
from gps_seg.tuning.prefix_cache.store import Store
from gps_seg.tuning.tuning import Tuning

# Fine-tunings that train on a cache; a second one would be made of what the first gives.
_CACHED: 'weakref.WeakSet[Tuning]' = weakref.WeakSet()


class PrefixCache:
    """Stored features that stand for the frozen prefix of a model under fine-tuning.

    `cache_prefix` makes it. In training passes (the model in training mode, gradients on) the
    prefix is not computed; in all others the model is as ever. An image whose features are not
    stored is an error, never computed silently.

    folder: where the features are. num_images: how many images and views are stored.
    filled: what the filling had to do. key: the digest of all that the features depend on.
    """

    def __init__(
        self,
        tuning: Tuning,
        prefix: Prefix,
        store: Store,
        records: Records,
        *,
        key: str,
        where: str,
    ) -> None:
        self.tuning, self.prefix, self.store, self.records = tuning, prefix, store, records
        self.key = key
        self.precision = where
        self.filled = Filled()
        self._has_ended = False
        self._inside: AbstractContextManager[Any] | None = None
        self._tensors = frozen_tensors(prefix)
        self._versions = self._now()
        _CACHED.add(tuning)
        self._hooks = [
            prefix.entry.register_forward_pre_hook(self._enter, with_kwargs=True),
            prefix.entry.register_forward_hook(self._leave, always_call=True),
            *(
                prefix.entry.get_submodule(path).register_forward_pre_hook(self._refuse)
                for path in dict.fromkeys(path for path, _ in prefix.outputs)
            ),
        ]

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def num_images(self) -> int:
        return len(self.store)

    def close(self) -> None:
        """Let the model compute its prefix again; the stored features stay."""
        self._leave()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.store.close()
        _CACHED.discard(self.tuning)

    def __enter__(self) -> 'PrefixCache':
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __reduce__(self) -> Any:
        # A copy of the model, as an average of its weights is, computes its prefix.
        return _of_a_copy, ()

    def _enter(self, entry: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._leave()  # of a pass that was interrupted
        if not self._is_training():
            return
        images = image_argument(args, kwargs)
        if images.requires_grad:
            raise ValueError(
                'the images need a gradient, which a cached prefix cannot give them; leave '
                'requires_grad off, or close() the cache'
            )
        self._check_unchanged(images)
        features = self.records.unpacked(self._contents(images), images.device)
        self._inside = self.prefix.replayed(features, len(images), images.device)
        self._inside.__enter__()

    def _leave(self, *_: Any) -> None:
        if self._inside is not None:
            inside, self._inside = self._inside, None
            inside.__exit__(None, None, None)

    def _is_training(self) -> bool:
        if self._has_ended or self.tuning._ended or not torch.is_grad_enabled():
            return False
        return self.tuning.model.training

    def _refuse(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Of a part of the prefix, called in training though nobody entered the model."""
        if self._inside is None and self._is_training():
            raise RuntimeError(
                f'{type(module).__name__} lies in the cached prefix, but is called in training '
                f'outside of a call of {self.prefix.path or "the whole model"}: call that with the '
                'images, and let activation checkpointing cover single blocks, not a stage that '
                'holds frozen and trained ones; or close() the cache'
            )

    def _contents(self, images: Tensor) -> list[bytearray]:
        contents = []
        for place, key in enumerate(image_keys(images)):
            content = self.store.read(key)
            if content is None and self.store.is_damaged(key):
                raise ValueError(
                    f'stored features in {self.folder} were damaged while the training ran; start '
                    'it again, which computes them anew'
                )
            if content is None:
                raise ValueError(self._unknown(images, place))
            contents.append(content)
        return contents

    def _check_unchanged(self, images: Tensor) -> None:
        """Raise ValueError where the prefix is not the one whose features are stored."""
        now = precision(images.device)
        if now != self.precision:
            raise ValueError(
                f'the features were stored as computed on {self.precision}, but the training '
                f'computes on {now}: call cache_prefix on the same device and within the same '
                'torch.autocast as the training'
            )
        trained = [name for name, tensor in self._tensors.items() if tensor.requires_grad]
        if trained:
            raise ValueError(
                f'{trained[0]} lies in the cached prefix, but now requires a gradient: it would '
                'never get one; freeze it again, or close() the cache'
            )
        if self._now() == self._versions:
            return
        if prefix_key(self.prefix, images.device, self.records.storage) != self.key:
            raise ValueError(
                'the weights or settings of the frozen prefix have changed since its features were '
                'stored; close() the cache and call cache_prefix again, after all weights are '
                'loaded'
            )
        self._versions = self._now()

    def _now(self) -> list[int]:
        return [tensor._version for tensor in self._tensors.values()]

    def _unknown(self, images: Tensor, place: int) -> str:
        expected = tuple(self.prefix.image)
        if tuple(images.shape[1:]) != expected:
            return (
                f'the images are {tuple(images.shape[1:])}, but those with stored features '
                f'{expected}; resize all images to one size'
            )
        return (
            f'image {place} of the batch is none of the {self.num_images} with stored features in '
            f'{self.folder}: it was augmented at random (train on the stored views alone, as '
            'turned(images, view) gives them), padded or mixed with others of its batch, or its '
            'file has changed since the training started; call cache_prefix with all images and '
            'views of the training, or start again'
        )


def refuse_cached(tuning: Tuning) -> None:
    """Raise ValueError where a fine-tuning has ended, or trains on a cache already."""
    tuning.named_parameters()
    if tuning in _CACHED:
        raise ValueError('this fine-tuning trains on a cached prefix already; close() that first')


def _of_a_copy() -> PrefixCache:
    cache = PrefixCache.__new__(PrefixCache)
    cache._has_ended, cache._inside, cache._hooks = True, None, []
    return cache
