//! Which of the sensing receiver's tracks the beams follow: for every believed target the one that stands for it.
//!
//! A target keeps its track as long as that is there; otherwise the nearest track that no other target has is its own.
//! With one target the track with most fixes is its track.

use std::collections::VecDeque;
use std::time::Duration;

use super::session::FollowReport;
use crate::array::distance_m;
use crate::scene::Point;
use crate::sensing::Track;

/// The sensing receiver's tracks, as far as they may be used.
#[derive(Debug)]
pub(super) struct Follower {
    /// Frames from plan to plan; absent where beams do not follow, and tracks only tell what is believed wrongly.
    pub every_frames: Option<u64>,
    /// Tracks by frame that came in and whose time has not come.
    waiting: VecDeque<(u64, Vec<Track>)>,
    /// The tracks of a frame of which more are to come.
    gathered: Vec<Track>,
    /// The newest that may be used, the one with most fixes first.
    tracks: Vec<Track>,
    /// The frame that they are of.
    tracked: Option<u64>,
    /// Frames below this one have come in.
    pub seen: u64,
    /// The believed targets.
    targets: Vec<Followed>,
    /// Time spent on plans.
    pub busy: Duration,
    /// What was done.
    pub report: FollowReport,
}

/// A believed target.
#[derive(Debug)]
struct Followed {
    /// Its place among the scene's targets.
    index: usize,
    /// Where it is expected.
    place: Point,
    /// The id of its track.
    track: Option<u64>,
}

impl Follower {
    /// For these targets by their places among the scene's, each where it is first believed to be; with a plan every so
    /// many frames.
    pub fn new(every_frames: Option<u64>, targets: impl Iterator<Item = (usize, Point)>) -> Self {
        Self {
            every_frames,
            waiting: VecDeque::new(),
            gathered: Vec::new(),
            tracks: Vec::new(),
            tracked: None,
            seen: 0,
            targets: targets.map(|(index, place)| Followed { index, place, track: None }).collect(),
            busy: Duration::ZERO,
            report: FollowReport::default(),
        }
    }

    /// Takes in a track of a frame, or that there is none; `more` of this frame may follow.
    pub fn take_in(&mut self, frame: u64, track: Option<Track>, more: bool) {
        self.gathered.extend(track);
        if !more {
            self.seen = frame + 1;
            self.waiting.push_back((frame, std::mem::take(&mut self.gathered)));
        }
    }

    /// Lets the tracks of the frames below `end` be used: those are in whatever the timing of threads.
    pub fn advance(&mut self, end: u64) {
        while self.waiting.front().is_some_and(|(frame, _)| *frame < end) {
            if let Some((frame, tracks)) = self.waiting.pop_front() {
                (self.tracked, self.tracks) = (Some(frame), tracks);
            }
        }
    }

    /// Believed targets with their tracks, as far as those had fixes within the last `seconds`, and the frame that they are of.
    pub fn seen_lately(&mut self, seconds: f64) -> Option<(u64, Vec<(usize, Track)>)> {
        let all = self.tracks.clone();
        self.tracks.retain(|track| track.since_hit_s() <= seconds);
        let assigned = self.assigned();
        self.tracks = all;
        Some((self.tracked?, assigned))
    }

    /// The track of every believed target that has one, by the target's place among the scene's.
    pub fn assigned(&mut self) -> Vec<(usize, Track)> {
        if let ([only], Some(best)) = (&mut self.targets[..], self.tracks.first()) {
            only.track = Some(best.id);
            return vec![(only.index, *best)];
        }
        let tracks = &self.tracks;
        for target in &mut self.targets {
            target.track = target.track.filter(|id| tracks.iter().any(|track| track.id == *id));
        }
        let mut pairs: Vec<_> = (0..self.targets.len())
            .flat_map(|target| tracks.iter().map(move |track| (target, track)))
            .map(|(target, track)| (distance_m(self.targets[target].place, track.position_m()), target, track))
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, target, track) in pairs {
            let taken = self.targets.iter().any(|other| other.track == Some(track.id));
            if self.targets[target].track.is_none() && !taken {
                self.targets[target].track = Some(track.id);
            }
        }
        let of = |id: Option<u64>| tracks.iter().find(|track| Some(track.id) == id).copied();
        self.targets.iter().filter_map(|target| Some((target.index, of(target.track)?))).collect()
    }

    /// Where the target at this place among the scene's is expected from now on.
    pub fn expect(&mut self, index: usize, place: Point) {
        self.targets.iter_mut().filter(|target| target.index == index).for_each(|target| target.place = place);
    }
}
