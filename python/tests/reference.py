"""Fisher information and position bound in NumPy, from the formulas of docs/src/mathematics.md and nothing of the package:
derivatives of H_0 = β_0 α(φ) α(θ)ᴴ e^{-jwT} by θ, φ, T, Re β, Im β, the hybrid prior, the step to (x, y)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

C = 299_792_458.0

Array = NDArray[Any]


@dataclass
class Target:
    """A target as a bound sees it, with everything of its scene that matters."""

    transmitter: tuple[float, float]
    receiver: tuple[float, float]
    position: tuple[float, float]
    beta: float
    n_t: int
    n_r: int
    spacing: float
    noise_w: float
    clock_std_s: float
    bandwidth_hz: float
    symbols: int
    unknown: bool
    centered: bool

    def angles(self) -> tuple[float, float]:
        """θ and φ, rad."""
        (bx, by), (rx, ry), (x, y) = self.transmitter, self.receiver, self.position
        return math.atan2(y - by, x - bx), math.atan2(y - ry, x - rx)

    def frequencies(self) -> Array:
        """w_k of the DFT's bins, rad/s."""
        k = np.arange(self.symbols)
        if self.centered:
            k = np.where(2 * k >= self.symbols, k - self.symbols, k)
        return 2 * np.pi * k * self.bandwidth_hz / self.symbols

    def step_to_position(self) -> tuple[Array, Array]:
        """∂(x, y)/∂(θ, φ) [2, 2] and ∂τ/∂(θ, φ) [2]."""
        theta, phi = self.angles()
        out = math.dist(self.transmitter, self.position)
        back = math.dist(self.receiver, self.position)
        of_angles = np.array([[-math.sin(theta) / out, math.cos(theta) / out], [-math.sin(phi) / back, math.cos(phi) / back]])
        step = np.linalg.inv(of_angles)
        of_delay = np.array([math.cos(theta) + math.cos(phi), math.sin(theta) + math.sin(phi)]) / C
        return step, of_delay @ step


def steering(elements: int, spacing: float, angle: float) -> tuple[Array, Array]:
    """α(angle) and its derivative."""
    n = np.arange(elements)
    alpha = np.exp(2j * np.pi * spacing * n * math.sin(angle))
    return alpha, 2j * np.pi * spacing * n * math.cos(angle) * alpha


def forms(target: Target, gauged: bool) -> Array:
    """ζ_ij [n, n, N_T, N_T] with J_ij = 2/σ² Re Tr(ζ_ij Σ). Gauged: what β_0 absorbs, where it is unknown, is left out."""
    theta, phi = target.angles()
    a_t, da_t = steering(target.n_t, target.spacing, theta)
    a_r, da_r = steering(target.n_r, target.spacing, phi)
    w = target.frequencies()
    if gauged and target.unknown:
        w = w - w.mean()
        da_t = da_t - a_t * (a_t.conj() @ da_t) / target.n_t
        da_r = da_r - a_r * (a_r.conj() @ da_r) / target.n_r
    h = target.beta * np.outer(a_r, a_t.conj())
    zero = np.zeros_like(h)
    constant: list[Array] = [target.beta * np.outer(a_r, da_t.conj()), target.beta * np.outer(da_r, a_t.conj()), zero]
    slope: list[Array] = [zero, zero, -1j * h]
    if target.unknown:
        constant += [h / target.beta, 1j * h / target.beta]
        slope += [zero, zero]
    s_0, s_1, s_2 = len(w), w.sum(), (w**2).sum()
    count = len(constant)
    zeta = np.zeros((count, count, target.n_t, target.n_t), dtype=complex)
    for i in range(count):
        for k in range(count):
            zeta[i, k] = (
                s_0 * constant[i].conj().T @ constant[k]
                + s_1 * (constant[i].conj().T @ slope[k] + slope[i].conj().T @ constant[k])
                + s_2 * slope[i].conj().T @ slope[k]
            )
    return zeta


def prior(target: Target) -> Array:
    """v vᵀ/σ_Δ² of Δτ = T − τ(θ, φ)."""
    _, of_delay = target.step_to_position()
    v = np.zeros(5 if target.unknown else 3)
    v[:3] = [-of_delay[0], -of_delay[1], 1.0]
    return np.outer(v, v) / target.clock_std_s**2


def information(target: Target, covariance: Array, gauged: bool = False) -> Array:
    """J [n, n], data and prior, for a transmit covariance Σ [N_T, N_T]."""
    data: Array = 2 / target.noise_w * np.einsum("ikab,ba->ik", forms(target, gauged), covariance).real
    total: Array = data + prior(target)
    return total


def bound(target: Target, covariance: Array) -> Array:
    """The bound on the covariance of (x, y) [2, 2], m²."""
    j = information(target, covariance, gauged=True)
    scale = 1 / np.sqrt(np.diag(j))
    inverse = np.linalg.inv(j * np.outer(scale, scale)) * np.outer(scale, scale)
    step, _ = target.step_to_position()
    covariance_m2: Array = step @ inverse[:2, :2] @ step.T
    return covariance_m2


def channel(scene: dict[str, Any]) -> Array:
    """h_c [N_T]."""
    (bx, by), (cx, cy) = scene["transmitter"], scene["communication_receiver"]
    gain = math.dist((bx, by), (cx, cy)) ** (-scene["path_loss_exponent"] / 2)
    vector: Array = gain * steering(scene["n_t"], scene["spacing"], math.atan2(cy - by, cx - bx))[0]
    return vector
