import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

import gps_seg
from gps_seg.cli.delta import main
from gps_seg.delta import Delta, fingerprint
from gps_seg.files import read_weights, save_tensors
from gps_seg.methods import LoRA
from gps_seg.selection import Budget, Entries, Random, Selection, neuron, selectable_weights


def state_bytes(state: Mapping[str, Tensor]) -> dict[str, tuple]:
    return {
        name: (
            tensor.dtype,
            tuple(tensor.shape),
            tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
        for name, tensor in state.items()
    }


class Files:
    """A small base, its tuned state and the delta between them, as files in a folder."""

    def __init__(self, folder: Path, suffix: str = '.pth') -> None:
        self.folder, self.base_path = folder, folder / f'base{suffix}'
        self.base = {
            'blocks.0.weight': torch.randn(4, 6),
            'blocks.1.weight': torch.randn(4, 6).bfloat16(),
            'norm.count': torch.tensor(7),
            'head.weight': torch.randn(2, 4),
        }
        self.tuned = {name: tensor.clone() for name, tensor in self.base.items()}
        selection = {}
        for name in ('blocks.0.weight', 'blocks.1.weight'):
            selection[name] = Entries.from_mask(torch.eye(4, 6, dtype=torch.bool), (4, 6))
            self.tuned[name].fill_diagonal_(3)
        self.tuned['head.weight'] = torch.randn(2, 4)
        self.delta = Delta.between(
            self.base,
            self.tuned,
            Selection(selection, {'criterion': 'random', 'k': '1'}),
            metadata={'method': 'GPS', 'config': 'first = 1\nsecond = 2', 'base_name': 'base.pth'},
        )
        self.delta_path = folder / 'delta.safetensors'
        self.delta.save(self.delta_path)
        if suffix == '.pth':
            torch.save({'state_dict': self.base}, self.base_path)
        else:
            save_tensors(self.base_path, self.base, {})

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, command: str) -> int:
        """Run a command whose words that end in a suffix are files of the folder."""
        return main([self.path(w) if Path(w).suffix else w for w in command.split()])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize('base', ['.pth', '.safetensors'])
@pytest.mark.parametrize('out', ['.pth', '.pt', '.safetensors'])
def test_apply_writes_the_tuned_bits_and_undo_the_base_bits(
    tmp_path: Path, base: str, out: str
) -> None:
    files = Files(tmp_path, base)
    assert files.run(f'apply base{base} delta.safetensors -o t{out} --undo u.safetensors') == 0
    assert state_bytes(read_weights(tmp_path / f't{out}')) == state_bytes(files.tuned)
    assert files.run(f'undo t{out} u.safetensors -o b{out}') == 0
    assert state_bytes(read_weights(tmp_path / f'b{out}')) == state_bytes(files.base)


def test_a_written_pth_is_a_plain_state_dict_without_a_wrapper(files: Files) -> None:
    assert files.run('apply base.pth delta.safetensors -o tuned.pth') == 0
    content = torch.load(files.path('tuned.pth'), weights_only=True)
    assert type(content) is dict
    assert list(content) == list(files.base)
    assert not (files.folder / 'undo.safetensors').exists()


def test_fresh_parts_complete_a_base_and_their_undo_removes_them(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = {**files.tuned, 'new.weight': torch.randn(3)}
    Delta.between(files.base, grown, fresh={'new.weight'}).save(files.delta_path)
    assert files.run('apply base.pth delta.safetensors -o t.pth --undo u.safetensors') == 0
    assert state_bytes(read_weights(files.path('t.pth'))) == state_bytes(grown)
    assert files.run('info u.safetensors') == 0
    assert re.search(r'removes +1 tensors', capsys.readouterr().out)
    assert files.run('undo t.pth u.safetensors -o b.pth') == 0
    assert state_bytes(read_weights(files.path('b.pth'))) == state_bytes(files.base)


def test_a_head_of_another_size_replaces_that_of_the_base(files: Files) -> None:
    tuned = {**files.tuned, 'head.weight': torch.randn(3, 4)}
    known = {n: t for n, t in files.base.items() if n != 'head.weight'}
    Delta.between(known, tuned, fresh={'head.weight'}).save(files.delta_path)
    assert files.run('apply base.pth delta.safetensors -o t.pth --undo u.safetensors') == 0
    assert state_bytes(read_weights(files.path('t.pth'))) == state_bytes(tuned)
    assert files.run('undo t.pth u.safetensors -o b.pth') == 0
    assert state_bytes(read_weights(files.path('b.pth'))) == state_bytes(files.base)


def test_modules_of_a_method_are_not_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = timm.create_model('test_vit.r160_in1k', num_classes=3)
    save_tensors(tmp_path / 'vit.safetensors', model.state_dict(), {})
    tuning = gps_seg.tune(model, method=LoRA(rank=2))
    tuning.delta().save(tmp_path / 'delta.safetensors')
    names = [str(tmp_path / name) for name in ('vit.safetensors', 'delta.safetensors', 'o.pth')]
    assert main(['apply', *names[:2], '-o', names[2]]) == 0
    said = capsys.readouterr().out
    assert 'are of modules that the method adds' in said and 'tuning.merge()' in said
    assert '--without' not in said


def test_a_delta_of_fresh_parts_alone_finds_the_vit_it_stands_on(tmp_path: Path) -> None:
    from gps_seg.models.weights import sam_state_from_timm

    vit = timm.create_model('vit_tiny_patch16_224', depth=1, num_classes=3)
    save_tensors(tmp_path / 'vit.safetensors', vit.state_dict(), {})
    base = sam_state_from_timm(vit.state_dict())
    fresh = {'image_encoder.neck.0.weight', 'mask_decoder.iou_token.weight'}
    tuned = {**base, **{name: torch.randn(1, 4) for name in fresh}}
    Delta.between(base, tuned, fresh=fresh).save(tmp_path / 'delta.safetensors')
    names = [str(tmp_path / name) for name in ('vit.safetensors', 'delta.safetensors', 'o.pth')]
    assert main(['apply', *names[:2], '-o', names[2]]) == 0
    assert state_bytes(read_weights(tmp_path / 'o.pth')) == state_bytes(tuned)


def fails(files: Files, command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failing command prints; no file may appear or change."""
    before = {path: path.read_bytes() for path in files.folder.iterdir()}
    assert files.run(command) == 2
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before
    output = capsys.readouterr()
    assert output.out == ''
    assert output.err.startswith('error: ') and output.err.count('\n') == 1
    return output.err


def test_a_wrong_base_is_one_line_that_names_both(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**files.base, 'norm.count': torch.tensor(8)}
    torch.save(other, files.path('other.pth'))
    message = fails(files, 'apply other.pth delta.safetensors -o t.pth', capsys)
    assert 'other.pth' in message
    assert files.delta.base[:12] in message and 'base.pth' in message
    assert fingerprint(other, other)[:12] in message


def test_applying_a_delta_twice_says_to_undo_it_first(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.run('apply base.pth delta.safetensors -o t.pth --undo u.safetensors')
    capsys.readouterr()
    message = fails(files, 'apply t.pth delta.safetensors -o t2.pth', capsys)
    assert 'undo that one first' in message
    assert 'tuned state' in fails(files, 'undo base.pth u.safetensors -o b.pth', capsys)


def test_existing_files_are_overwritten_only_by_force(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    for taken in ('t.pth', 'u.safetensors'):
        (files.folder / taken).write_text('precious')
        message = fails(
            files, 'apply base.pth delta.safetensors -o t.pth --undo u.safetensors', capsys
        )
        assert taken in message and '--force' in message
        assert (files.folder / taken).read_text() == 'precious'
        (files.folder / taken).unlink()
    # Also the base itself, which has been read before.
    assert files.run('apply base.pth delta.safetensors -o base.pth --force') == 0
    assert state_bytes(read_weights(files.base_path)) == state_bytes(files.tuned)


@pytest.mark.parametrize(
    'command, cause',
    [
        ('apply gone.pth delta.safetensors -o t.pth', 'gone.pth'),
        ('apply base.pth gone.safetensors -o t.pth', 'gone.safetensors'),
        ('apply base.pth base.pth -o t.pth', 'base.pth is not a complete safetensors file'),
        ('apply base.pth delta.safetensors -o t.ckpt', '.pth or .safetensors'),
        ('apply base.pth delta.safetensors -o t.pth --undo t.pth', 'both as the output and'),
        ('undo base.pth delta.safetensors -o t.pth', 'use gps-seg delta apply'),
        ('info gone.safetensors', 'gone.safetensors'),
        ('info delta.safetensors --show nothing', 'there is method, config, base_name'),
    ],
)
def test_what_a_user_can_put_right_is_one_line_and_exit_code_2(
    files: Files, capsys: pytest.CaptureFixture[str], command: str, cause: str
) -> None:
    assert cause in fails(files, command, capsys)


def test_an_undo_is_not_applied_as_a_delta(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.run('apply base.pth delta.safetensors -o t.pth --undo u.safetensors')
    capsys.readouterr()
    message = fails(files, 'apply t.pth u.safetensors -o b.pth', capsys)
    assert 'use gps-seg delta undo' in message


def test_info_shows_provenance_and_counts_by_block(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.run('info delta.safetensors') == 0
    output = capsys.readouterr().out
    assert re.search(rf'belongs to +base {files.delta.base[:12]} \(base\.pth\)', output)
    assert re.search(r'method +GPS', output)
    assert re.search(r'selection: criterion +random', output)
    assert re.search(r'config +first = 1\.\.\. \(2 lines; --show config prints all\)', output)
    # 4 entries of 4 bytes and 4 columns of 1; the same in bf16; 8 numbers of 4 bytes.
    assert re.search(r'blocks\.0 +4 +0 +4 +16 +0 +20\n', output)
    assert re.search(r'blocks\.1 +4 +0 +4 +8 +0 +12\n', output)
    assert re.search(r'head +0 +8 +0 +0 +32 +32\n', output)
    assert re.search(r'all tensors +8 +8 +8 +24 +32 +64\n', output)
    assert files.delta.num_bytes == 64


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_info_accounts_for_every_byte_of_the_file(
    files: Files, capsys: pytest.CaptureFixture[str], dtype: torch.dtype | None
) -> None:
    files.delta.save(files.delta_path, dtype=dtype)
    assert files.run('info delta.safetensors') == 0
    output = capsys.readouterr().out

    def last(row: str) -> int:
        line = next(line for line in output.splitlines() if line.startswith(row))
        return int(line.split()[-1].replace(',', ''))

    parts = ('all tensors', 'names, shapes and digests', 'config and other metadata')
    size = files.delta_path.stat().st_size
    assert sum(map(last, parts)) == last('whole file') == size
    assert last('all tensors') == (64 if dtype is None else 64 - 8 - 16)
    assert last('config and other') > len('first = 1\nsecond = 2')


def test_show_prints_a_config_whole(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.run('info delta.safetensors --show config') == 0
    assert capsys.readouterr().out == 'first = 1\nsecond = 2\n'


def test_a_delta_on_a_timm_vit_gives_a_complete_sam_state(tmp_path: Path) -> None:
    from gps_seg.models.weights import sam_state_from_timm

    vit = timm.create_model('vit_tiny_patch16_224', depth=1, num_classes=3)
    save_tensors(tmp_path / 'vit.safetensors', vit.state_dict(), {})
    base = sam_state_from_timm(vit.state_dict())
    tuned = {name: tensor + 1 for name, tensor in base.items()}
    tuned |= {'mask_decoder.iou_token.weight': torch.randn(1, 256)}
    delta = Delta.between(base, tuned, fresh={'mask_decoder.iou_token.weight'})
    delta.save(tmp_path / 'delta.safetensors')
    names = [str(tmp_path / name) for name in ('vit.safetensors', 'delta.safetensors', 'o.pth')]
    assert main(['apply', *names[:2], '-o', names[2], '--undo', f'{tmp_path}/u.safetensors']) == 0
    assert state_bytes(read_weights(tmp_path / 'o.pth')) == state_bytes(tuned)
    assert main(['undo', names[2], f'{tmp_path}/u.safetensors', '-o', f'{tmp_path}/b.pth']) == 0
    assert state_bytes(read_weights(tmp_path / 'b.pth')) == state_bytes(base)


@pytest.fixture(scope='module')
def tuned_sam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sam, Sam]:
    """A tuned SAM ViT-B, and the one that segment_anything opens after `apply`."""
    folder = tmp_path_factory.mktemp('sam')
    torch.manual_seed(0)
    model = sam_model_registry['vit_b']().eval()
    torch.save(model.state_dict(), folder / 'sam_vit_b.pth')
    selection = neuron(
        Random(selectable_weights(model, within=['image_encoder'])).scores(), Budget(k=1)
    )
    parameters = dict(model.named_parameters())
    whole = [n for n in parameters if n.startswith(('mask_decoder.', 'prompt_encoder.no_mask'))]
    whole += [n for n in parameters if n.startswith('image_encoder.') and n.endswith('.bias')]
    own = fingerprint(model.state_dict(), model.state_dict())
    with torch.no_grad():
        for name, entries in selection.items():
            parameters[name].put_(entries.storage_index(), torch.randn(entries.num) / 10)
        for name in whole:
            parameters[name].add_(torch.randn_like(parameters[name]) / 100)
    delta = Delta.of(model.state_dict(), selection, whole, base=own)
    delta.save(folder / 'delta.safetensors')
    paths = [str(folder / name) for name in ('sam_vit_b.pth', 'delta.safetensors')]
    assert main(['apply', *paths, '-o', str(folder / 'tuned.pth')]) == 0
    opened = sam_model_registry['vit_b'](checkpoint=str(folder / 'tuned.pth')).eval()
    for path in folder.iterdir():
        path.unlink()  # hundreds of megabytes
    return model, opened


def masks(model: Sam, image: Tensor) -> Tensor:
    """Every layer of SAM, with attention over 14 x 14 of the 64 x 64 tokens (20 times faster)."""
    encoder = model.image_encoder
    tokens = (encoder.patch_embed(image) + encoder.pos_embed)[:, :14, :14]
    for block in encoder.blocks:
        tokens = block(tokens)
    embedding = encoder.neck(tokens.permute(0, 3, 1, 2))
    sparse, dense = model.prompt_encoder(points=None, boxes=None, masks=None)
    low_res_masks, _ = model.mask_decoder(
        image_embeddings=F.interpolate(embedding, (64, 64)),
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return low_res_masks


def test_a_tuned_sam_opens_in_segment_anything_and_gives_the_same_masks(
    tuned_sam: tuple[Sam, Sam],
) -> None:
    model, opened = tuned_sam
    state, found = model.state_dict(), opened.state_dict()
    assert state.keys() == found.keys()
    assert all(torch.equal(state[name], found[name]) for name in state)
    image = torch.randn(1, 3, 1024, 1024)
    with torch.no_grad():
        expected = masks(model, image)
        assert expected.std() > 0
        assert torch.equal(masks(opened, image), expected)


@pytest.fixture
def two(files: Files) -> Files:
    """Two deltas on one base: both write the head, otherwise in one entry."""
    other = {name: tensor.clone() for name, tensor in files.tuned.items()}
    other['blocks.1.weight'] = files.base['blocks.1.weight'].clone()
    other['head.weight'][1, 2] = 7.5
    Delta.between(files.base, other, metadata={'base_name': 'base.pth', 'config': 'a = 1'}).save(
        files.folder / 'other.safetensors'
    )
    files.other = other  # type: ignore[attr-defined]
    return files


def test_merge_refuses_conflicts_and_reports_each_of_them(
    two: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(two, 'merge delta.safetensors other.safetensors -o m.safetensors', capsys)
    value = two.tuned['head.weight'][1, 2].item()
    assert f'head.weight[1, 2]: {value} and 7.5' in message
    command = 'merge delta.safetensors other.safetensors -o m.safetensors --report r.csv'
    assert two.run(command) == 2
    report = (two.folder / 'r.csv').read_text()
    assert report == f'tensor,index,first,second\nhead.weight,1 2,{value},7.5\n'
    assert not (two.folder / 'm.safetensors').exists()
    capsys.readouterr()
    assert 'r.csv exists' in fails(two, command, capsys)


@pytest.mark.parametrize('conflict', ['first', 'mean'])
def test_a_merge_applies_to_the_base(
    two: Files, capsys: pytest.CaptureFixture[str], conflict: str
) -> None:
    command = f'delta.safetensors other.safetensors -o m.safetensors --conflict {conflict}'
    assert two.run(f'merge {command}') == 0
    output = capsys.readouterr().out
    assert '11 alike in both, 1 with different values' in output and 'head.weight[1, 2]' in output
    assert two.run('apply base.pth m.safetensors -o t.pth') == 0
    expected = {name: tensor.clone() for name, tensor in two.tuned.items()}
    if conflict == 'mean':
        expected['head.weight'][1, 2] = (expected['head.weight'][1, 2].double() + 7.5) / 2
    assert state_bytes(read_weights(two.folder / 't.pth')) == state_bytes(expected)


def test_diff_counts_what_each_writes(two: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert two.run('diff delta.safetensors other.safetensors') == 0
    output = capsys.readouterr().out
    assert '4 entries only in the first delta, 20 only in the second' in output
    assert re.search(r'blocks\.1\.weight +4 +0 +0 +0 +0\n', output)
    difference = abs(two.tuned['head.weight'][1, 2].item() - 7.5)
    assert re.search(rf'head\.weight +0 +0 +7 +1 +{re.escape(f"{difference:.3g}")}\n', output)


def test_scale_goes_a_part_of_the_way_to_the_base(files: Files) -> None:
    selected = {n: t for n, t in files.tuned.items()}
    for by in ('0', '0.5', '1'):
        command = f'scale delta.safetensors base.pth -o s{by}.safetensors --by'
        words = [
            files.path(w) if Path(w).suffix in ('.safetensors', '.pth') else w
            for w in command.split()
        ]
        assert main([*words, by]) == 0
        assert files.run(f'apply base.pth s{by}.safetensors -o t{by}.pth') == 0
    assert state_bytes(read_weights(files.folder / 't0.pth')) == state_bytes(files.base)
    assert state_bytes(read_weights(files.folder / 't1.pth')) == state_bytes(selected)
    half = read_weights(files.folder / 't0.5.pth')
    for name in ('blocks.0.weight', 'head.weight'):
        old, new = files.base[name].double().numpy(), files.tuned[name].double().numpy()
        assert (half[name].numpy() == (0.5 * old + 0.5 * new).astype('float32')).all()


def test_between_two_checkpoints_is_what_turns_one_into_the_other(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(files.tuned, files.path('tuned.pth'))
    assert files.run('between base.pth tuned.pth -o d.safetensors') == 0
    assert files.run('apply base.pth d.safetensors -o t.pth') == 0
    assert state_bytes(read_weights(files.folder / 't.pth')) == state_bytes(files.tuned)
    torch.save({**files.tuned, 'new.weight': torch.ones(2)}, files.path('grown.pth'))
    capsys.readouterr()
    message = fails(files, 'between base.pth grown.pth -o e.safetensors', capsys)
    assert 'only the tuned one has new.weight' in message
    words = ['between', files.path('base.pth'), files.path('grown.pth'), '-o']
    assert main([*words, files.path('e.safetensors'), '--fresh', 'new.*']) == 0
    assert Delta.load(files.path('e.safetensors')).fresh == {'new.weight'}
    assert main([*words, files.path('f.safetensors'), '--fresh', 'old.*']) == 2


@pytest.mark.parametrize(
    'command, cause',
    [
        ('merge delta.safetensors gone.safetensors -o m.safetensors', 'gone.safetensors'),
        ('merge delta.safetensors delta.safetensors -o delta.safetensors', '--force'),
        ('merge delta.safetensors u.safetensors -o m.safetensors', 'is an undo'),
        ('diff u.safetensors delta.safetensors', 'is an undo'),
        ('scale delta.safetensors t.pth -o m.safetensors --by 1', 'belongs to the base'),
        ('between base.pth gone.pth -o m.safetensors', 'gone.pth'),
    ],
)
def test_wrong_inputs_of_the_arithmetic_are_one_line(
    files: Files, capsys: pytest.CaptureFixture[str], command: str, cause: str
) -> None:
    files.run('apply base.pth delta.safetensors -o t.pth --undo u.safetensors')
    capsys.readouterr()
    assert cause in fails(files, command, capsys)


@pytest.mark.parametrize('by', ['nan', 'half', 'inf'])
def test_a_factor_is_a_finite_number_and_a_delta_a_safetensors_file(
    files: Files, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    words = ['scale', str(files.delta_path), files.path('base.pth'), '-o']
    with pytest.raises(SystemExit):
        main([*words, files.path('s.safetensors'), '--by', by])
    assert 'no finite number' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, files.path('s.pth'), '--by', '1'])
    assert 'a delta is a .safetensors file' in capsys.readouterr().err
