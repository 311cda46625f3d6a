"""The optimum against a semidefinite program in CVXPY, from the same formulas as the reference."""

import os
import time

import issc
import numpy as np
import pytest
from reference import bound, forms, prior, steering
from scenes import Drawn, draw

# All 200 take minutes; ISSC_SCENES=200 does them.
SCENES = range(int(os.environ.get("ISSC_SCENES", "8")))

TOLERANCE_DB = 2e-5


def threshold(drawn: Drawn, seed: int) -> float:
    """A threshold between half and three times what an isotropic covariance reaches, at the worst target."""
    n_t = len(drawn.channel)
    isotropic = np.eye(n_t) * drawn.power_w / n_t
    factor = np.random.default_rng([seed, 2]).uniform(0.6, 3.0)
    return float(factor * max(np.trace(bound(target, isotropic)) for target in drawn.targets))


def largest_sinr(drawn: Drawn, hcrb_max_m2: float) -> float | None:
    """max h_cᴴΣh_c/σ_n² s.t. Tr Σ ≤ P_T, [[J_k(Σ), F], [Fᵀ, X_k]] ⪰ 0, Tr X_k ≤ Π for every target k."""
    import cvxpy

    h = drawn.channel / np.linalg.norm(drawn.channel)
    # Neither objective nor constraints see anything of Σ outside of h_c and every α(θ_k), α'(θ_k).
    seen = [h, *(v for target in drawn.targets for v in steering(target.n_t, target.spacing, target.angles()[0]))]
    left, sizes, _ = np.linalg.svd(np.stack(seen, axis=1) / np.linalg.norm(seen, axis=1), full_matrices=False)
    basis = left[:, sizes > 1e-9 * sizes[0]]
    n_t = basis.shape[1]
    h = basis.conj().T @ h
    sigma = cvxpy.Variable((n_t, n_t), hermitian=True)
    constraints = [sigma >> 0, cvxpy.real(cvxpy.trace(sigma)) <= 1]
    for target in drawn.targets:
        zeta = 2 / target.noise_w * drawn.power_w * (basis.conj().T @ forms(target, gauged=True) @ basis)
        of_prior = prior(target)
        count = len(of_prior)
        typical = np.einsum("iiaa->i", zeta).real / n_t + np.diag(of_prior)
        scale = 1 / np.sqrt(typical)
        rows = []
        for i in range(count):
            entry = [
                scale[i] * scale[k] * (cvxpy.real(cvxpy.trace(zeta[i, k] @ sigma)) + of_prior[i, k]) for k in range(count)
            ]
            rows.append(cvxpy.hstack(entry))
        j = cvxpy.vstack(rows)
        step, _ = target.step_to_position()
        f = np.zeros((count, 2))
        f[:2] = step.T * scale[:2, None] / np.sqrt(hcrb_max_m2)
        x = cvxpy.Variable((2, 2), symmetric=True)
        lifted = cvxpy.bmat([[(j + j.T) / 2, f], [f.T, x]])
        constraints += [lifted >> 0, cvxpy.trace(x) <= 1]
    problem = cvxpy.Problem(cvxpy.Maximize(cvxpy.real(h.conj() @ sigma @ h)), constraints)
    try:
        # What is above is equilibrated; done twice, it fails.
        problem.solve(solver=cvxpy.CLARABEL, equilibrate_enable=False)
    except cvxpy.error.SolverError:
        return None
    if problem.status not in ("optimal", "optimal_inaccurate"):
        return None
    return float(problem.value) * drawn.power_w * float(np.linalg.norm(drawn.channel)) ** 2 / drawn.noise_w


def test_the_optimum_is_that_of_the_semidefinite_program_within_its_certificate() -> None:
    pytest.importorskip("cvxpy", reason="no cvxpy: the optimum is not compared with a semidefinite program")
    solved, worst_db = 0, 0.0
    for seed in SCENES:
        drawn = draw(seed)
        drawn.scene["constraints.hcrb_max_m2"] = threshold(drawn, seed)
        plan = issc.optimize(drawn.scene)
        expected = largest_sinr(drawn, drawn.hcrb_max_m2)
        if not plan.feasible:
            assert expected is None, f"{seed}: a solver finds what was found infeasible"
            continue
        if expected is None:
            continue
        expected_db = 10 * np.log10(expected)
        solved += 1
        assert plan.upper_bound_sinr_db is not None and plan.gap_db is not None
        # The solver's own tolerance.
        assert plan.sinr_db <= expected_db + TOLERANCE_DB, seed
        assert plan.upper_bound_sinr_db >= expected_db - TOLERANCE_DB, seed
        below = expected_db - plan.sinr_db
        worst_db = max(worst_db, below - plan.gap_db)
        assert below <= plan.gap_db + TOLERANCE_DB, (seed, below, plan.gap_db)
    print(f"{solved} of {len(SCENES)} solved by both; beyond the certificate's gap: {worst_db:.1e} dB")
    assert solved >= 0.9 * len(SCENES)


def test_batches_warm_starts_and_other_methods_agree_with_single_cold_solutions() -> None:
    scenes = [draw(seed).scene for seed in range(12)]
    single = [issc.optimize(scene) for scene in scenes]
    batch = issc.optimize_batch(scenes, threads=2)
    for one, many in zip(single, batch, strict=True):
        assert {**one.to_dict(), "solve_time_s": 0} == {**many.to_dict(), "solve_time_s": 0}
    paper = issc.Scene.load("paper")
    cold = issc.optimize(paper)
    moved = paper.copy({"geometry.target": [100.0, 50.03]})
    warm, fresh = issc.optimize(moved, warm=cold), issc.optimize(moved)
    assert abs(warm.sinr_db - fresh.sinr_db) < 2e-4 and warm.iterations < fresh.iterations
    assert issc.optimize(paper, "zf-wf").sinr_db < cold.sinr_db
    assert issc.optimize(paper, "alternating").sinr_db <= cold.sinr_db + 1e-4
    exchanged = issc.optimize(paper, objective="hcrb", sinr_min_db=cold.sinr_db - 1)
    assert exchanged.hcrb_trace_m2 is not None and cold.hcrb_trace_m2 is not None
    assert exchanged.hcrb_trace_m2 < cold.hcrb_trace_m2
    turned = issc.optimize(paper, channel=1j * draw(0).channel[:1].repeat(4))
    assert turned.w_c.shape == (4,) and turned.feasible
    with pytest.raises(issc.InputError, match="method: found best; accepted: global, alternating, zf-wf"):
        issc.optimize(paper, "best")  # type: ignore[arg-type]


def test_a_thousand_scenes_at_once_cost_what_the_rust_benchmark_does() -> None:
    """Prints what `cargo bench --bench optimize -- cold` has beside it; a time proves nothing here."""
    paper = issc.Scene.load("paper")
    smallest_m2 = issc.optimize(paper).smallest_hcrb_trace_m2
    assert smallest_m2 is not None
    changes = {"constraints.hcrb_max_m2": 1.2 * smallest_m2, "geometry.target": [100.0, 50.03]}
    scenes = [paper.copy(changes) for _ in range(1000)]
    times_us = []
    for _ in range(11):
        plans = []
        begin = time.process_time()
        plans = issc.optimize_batch(scenes, threads=2)
        times_us.append(1e3 * (time.process_time() - begin))
        assert len({plan.sinr_db for plan in plans}) == 1 and plans[0].feasible
    print(f"a batch of 1000: {sorted(times_us)[5]:.1f} µs of processor time a scene ({min(times_us):.1f} … {max(times_us):.1f})")
