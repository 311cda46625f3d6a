//! The sensing receiver allocates nothing once it is built.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use issc::optimize::Problem;
use issc::scene::Scene;
use issc::sensing::{
    CoherentEstimator, CoherentFrames, Detector, EchoFrame, Estimator, Planar, SensingConfig, StationaryEchoes, Status,
    TrackSettings, Tracker, Trials,
};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn estimates_of_one_and_of_several_frames_and_the_removal_of_stationary_echoes_allocate_nothing() {
    for (power_dbm, expected) in [(0.0, Status::Located), (-60.0, Status::Located), (-100.0, Status::BelowThreshold)] {
        let mut scene = Scene::paper();
        scene.constraints.power_dbm = power_dbm;
        let mut beams = Problem::from_scene(&scene).solve().beams;
        let config = SensingConfig::from_scene(&scene);
        let mut estimator = Estimator::new(config.clone(), Trials::window_samples(&config)).unwrap();
        for turn in 0..2 {
            // The second round brings new beams, as a retune does.
            beams.w_0 *= num_complex::Complex64::from(1.0 - 0.1 * f64::from(turn));
            let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
            trials.make(0, &estimator);
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let estimate = trials.estimate(&mut estimator);
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "at {power_dbm} dBm");
            assert_eq!(estimate.status, expected);
        }
    }
    let scene = Scene::from_toml(include_str!("../scenes/coherent.toml"), "coherent").unwrap();
    let beams = Problem::from_scene(&scene).solve().beams;
    let config = SensingConfig { moving: true, ..SensingConfig::from_scene(&scene) };
    let frames = CoherentFrames::of_scene(&scene, 4).unwrap();
    let mut coherent = CoherentEstimator::new(config.clone(), Trials::window_samples(&config), frames).unwrap();
    let mut trials = Trials::new(&scene, &config, &beams, 1).unwrap();
    for index in 0..8 {
        trials.make_frame(index as u64 / 4, index % 4, &coherent);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let estimate = trials.take_in(index % 4, &mut coherent);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "frame {index} of several");
        let expected = (index % 4 == 3).then_some(Status::Located);
        assert_eq!(estimate.map(|estimate| estimate.status), expected);
    }
    let scene = Scene::paper();
    detections_and_tracks_of_two_targets(&scene);
    let config = SensingConfig::from_scene(&scene);
    let beams = Problem::from_scene(&scene).solve().beams;
    let trials = Trials::new(&scene, &config, &beams, 1).unwrap();
    let mut stationary = StationaryEchoes::new(&config, Trials::window_samples(&config));
    let samples = stationary.echo_samples();
    let echo = vec![num_complex::Complex32::new(1e-3, 0.0); config.receive_antennas * samples];
    let mut left = echo.clone();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..3 {
        stationary.remove(&EchoFrame { echo: Planar::new(&echo, samples), ..trials.frame(0.0) }, &mut left);
        stationary.learn(&left);
    }
    stationary.turn_to(&beams);
    stationary.turn_to(&beams);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "stationary echoes");
}

/// Frames in which the echo of another place is added to the target's: the sum of two trials of one number, which send the
/// same.
fn detections_and_tracks_of_two_targets(scene: &Scene) {
    let mut elsewhere = scene.clone();
    elsewhere.geometry.target = [140.0, 20.0];
    let beams = Problem::from_scene(scene).solve().beams;
    let config = SensingConfig::from_scene(scene);
    let silent = SensingConfig { noise_power_w: 1e-20, ..config.clone() };
    let window = Trials::window_samples(&config);
    let single = CoherentFrames::of_scene(scene, 1).unwrap();
    let estimator = Estimator::new(config.clone(), window).unwrap();
    let mut detector = Detector::new(CoherentEstimator::new(config.clone(), window, single).unwrap(), window);
    let mut tracker = Tracker::new(&config, TrackSettings::default());
    let mut fixes = Vec::with_capacity(issc::sensing::MAX_TARGETS);
    let mut most = 0;
    for number in 0..8 {
        let mut both = [(scene, &config), (&elsewhere, &silent)]
            .map(|(scene, config)| Trials::new(scene, config, &beams, 1).unwrap());
        for trials in &mut both {
            trials.make(number, &estimator);
        }
        let [first, second] = both.each_ref().map(|trials| trials.frame(0.0));
        let sum: Vec<_> = first.echo.samples.iter().zip(second.echo.samples).map(|(a, b)| a + b).collect();
        let frame = EchoFrame { echo: Planar::new(&sum, first.echo.length), ..first };
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        detector.estimator_mut().expect(tracker.confirmed().map(|track| track.predict(number as f64)));
        let found = detector.take_in(&frame, 0.0).expect("one frame is enough");
        most = most.max(found.len());
        fixes.clear();
        fixes.extend(found.iter().filter_map(|estimate| estimate.fix));
        tracker.step(number as f64, &fixes);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "frame {number} of two targets");
    }
    assert_eq!(most, 2, "the other place's echo was never seen");
}
