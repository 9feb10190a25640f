"""Data shared by tests of several rooms."""

import pytest
import torch
from torch import Tensor

SU_W = [
    [0.69453734, -0.26590866, -0.44721806, 0.2753041],
    [-0.11738148, -0.5588003, -0.17580748, 0.3218624],
    [-0.4515288, -0.23489913, -0.26683152, -0.25739142],
    [0.02392521, 0.02664689, 0.48423648, 0.6193399],
    [0.45194831, -0.25206333, 0.27654836, -0.60242337],
    [0.21197332, -0.09174792, 0.24521762, -0.08484317],
    [-0.15496767, -0.26446804, -0.34942415, -0.01877318],
    [-0.16181251, -0.6474956, 0.45243263, -0.01776086],
]
SU_G = [
    [-17.85745, -10.758921, -2.9583392, 6.245008],
    [-28.883093, 19.772121, 8.086545, -21.564013],
    [-1.6274693, -14.96859, 3.4465332, 3.1070817],
    [-7.8890743, 1.5304767, -8.949573, 9.579629],
    [2.246596, 14.46572, 12.8451, -2.7370298],
    [-0.9496974, 6.9879804, 2.849277, 1.1148484],
    [-8.115278, -18.054405, -0.19287404, 7.0389237],
    [-15.062008, -15.02901, 2.9083247, 21.706533],
]
SU_OPTIMUM = 90.0481274954


@pytest.fixture
def su_example() -> tuple[Tensor, Tensor, float]:
    """(W, G, optimum): the 8 x 4 problem of kexue.fm/archives/11221 that tells solvers apart, in float64.

    Su found it to separate his iteration (about 90) from alternating projection (about 70). W is printed there to
    eight digits; here it is the nearest orthonormal matrix. The optimum holds for that one to all digits given.
    """
    u, _, vh = torch.linalg.svd(torch.tensor(SU_W, dtype=torch.float64), full_matrices=False)
    return u @ vh, torch.tensor(SU_G, dtype=torch.float64), SU_OPTIMUM
