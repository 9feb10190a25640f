import numpy as np
import pytest
import torch

from modular_manifolds.experiments.erasure.picture import Survival, ink, pixels, thumbnail


def test_letters_fill_the_square_and_leave_paper():
    where = ink("MM", 100)
    assert where.shape == (100, 100)
    columns = where.any(0).nonzero().flatten()
    assert 80 <= int(columns[-1] - columns[0]) <= 90  # 84 % of it
    assert 0.05 < float(where.float().mean()) < 0.4
    rows = where.any(1).nonzero().flatten()
    assert abs(int(rows[0]) - (99 - int(rows[-1]))) <= 2  # centred
    assert not torch.equal(where, ink("M", 100))


def test_what_is_left_of_a_picture():
    where = ink("MM", 64)
    full = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    start = full.masked_fill(where, 0)
    assert Survival.of(start, start, where) == Survival(pytest.approx(1), pytest.approx(1))
    erased = Survival.of(full, start, where)
    assert abs(erased.contrast) < 0.1
    half = Survival.of(torch.where(where, full / 2, full), start, where)
    assert half.contrast == pytest.approx(0.5, abs=0.05)
    assert half.correlation > erased.correlation
    assert Survival.of(full * where, start, where).contrast < 0  # ink on blank paper


def test_a_thumbnail_shows_sizes_whatever_their_scale():
    where = ink("MM", 200)
    w = torch.randn(200, 200, generator=torch.Generator().manual_seed(0)).masked_fill(where, 0)
    shown = pixels(thumbnail(w))
    assert shown.shape == (64, 64)
    blocks = np.asarray(torch.nn.functional.interpolate(where[None, None].float(), (64, 64)).bool()[0, 0])
    assert shown[blocks].mean() < 40 < 100 < shown[~blocks].mean()
    assert len(thumbnail(w)) < 4000
    assert thumbnail(w) == thumbnail(1e6 * w)
    assert pixels(thumbnail(w[:20, :20])).shape == (20, 20)
    assert pixels(thumbnail(torch.full((20, 20), torch.nan))).max() == 0
