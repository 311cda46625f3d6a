//! Live commands: `KEY=VALUE` as `issc set`, `--at` and the control socket take them.

use std::path::Path;
use std::str::FromStr;

use super::keys::{self, LiveKey};
use crate::array::Beams;
use crate::blocks::WorldChange;
use crate::scene::{Point, Scene};
use crate::{Error, Result};

/// One change to a running system. Targets are named by their id in the scene; without one the first is meant.
///
/// ```
/// use issc::control::Command;
///
/// let command: Command = "world.target.car=[80, 60]".parse()?;
/// assert_eq!(command, Command::WorldTarget { id: Some("car".into()), point: [80.0, 60.0] });
/// # Ok::<(), issc::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// P_T in dBm.
    Power(f64),
    /// Π in m².
    HcrbMax(f64),
    /// Channel uses per source sample.
    BandwidthRatioMax(f64),
    /// Where the optimizer believes a target to be.
    Target {
        /// The target's id.
        id: Option<String>,
        /// In metres.
        point: Point,
    },
    /// Beams to send with instead of the optimizer's; `None` gives the choice back.
    Weights(Option<Beams>),
    /// Where a simulated target is; it moves on from there.
    WorldTarget {
        /// The target's id.
        id: Option<String>,
        /// In metres.
        point: Point,
    },
    /// |β| of a simulated target.
    WorldReflection {
        /// The target's id.
        id: Option<String>,
        /// |β|.
        coefficient: f64,
    },
    /// A number of an impairment of the simulated world.
    WorldImpairment {
        /// The impairment's id.
        id: String,
        /// Its key.
        key: String,
        /// What it becomes.
        value: f64,
    },
}

impl FromStr for Command {
    type Err = Error;

    /// Parses `KEY=VALUE`. `weights=@FILE` reads the file here, so that a command is complete in itself.
    fn from_str(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            Error::input(format!("`{text}`: accepted: KEY=VALUE with KEY one of {}", keys::live_names()))
        })?;
        let (path, value) = (path.trim(), value.trim());
        let (key, id) = keys::live(path).map_err(Error::input)?;
        if let Some((id, number)) = keys::impairment(path) {
            let found = value.parse::<f64>().ok().filter(|value| value.is_finite());
            let value =
                found.ok_or_else(|| Error::input(format!("{path}: found `{value}`; accepted: a finite number")))?;
            return Ok(Self::WorldImpairment { id: id.to_owned(), key: number.to_owned(), value });
        }
        let id = id.map(str::to_owned);
        let number = || number(path, key, value);
        let point = || point(path, key, value);
        Ok(match key.path {
            "power_dbm" => Self::Power(number()?),
            "hcrb_max_m2" => Self::HcrbMax(number()?),
            "bandwidth_ratio_max" => Self::BandwidthRatioMax(number()?),
            "target" | "target.ID" => Self::Target { id, point: point()? },
            "world.target" | "world.target.ID" => Self::WorldTarget { id, point: point()? },
            "world.reflection" | "world.reflection.ID" => Self::WorldReflection { id, coefficient: number()? },
            _ => Self::Weights(weights(path, key, value)?),
        })
    }
}

fn wrong(path: &str, key: &LiveKey, value: &str) -> Error {
    let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
    Error::input(format!("{path}: found `{value}`; accepted: {}{unit}", key.range))
}

fn number(path: &str, key: &LiveKey, value: &str) -> Result<f64> {
    let number = value.parse::<f64>().ok().filter(|number| key.range.contains(*number));
    number.ok_or_else(|| wrong(path, key, value))
}

fn point(path: &str, key: &LiveKey, value: &str) -> Result<Point> {
    let point = serde_json::from_str::<Point>(value).ok();
    let point = point.filter(|point| point.iter().all(|coordinate| key.range.contains(*coordinate)));
    point.ok_or_else(|| wrong(path, key, value))
}

fn weights(path: &str, key: &LiveKey, value: &str) -> Result<Option<Beams>> {
    match value.strip_prefix('@') {
        _ if value == "auto" => Ok(None),
        Some(file) => read_weights(Path::new(file)).map(Some),
        None => parse_weights(value).map(Some).map_err(|_| Error::input(format!("{path}: accepted: {}", key.range))),
    }
}

impl Command {
    /// Parses `KEY=VALUE`, as [`FromStr`] does.
    pub fn parse(text: &str) -> Result<Self> {
        text.parse()
    }

    /// The command as one line that [`Self::parse`] reads anywhere.
    pub fn to_line(&self) -> String {
        let key = self.key();
        let at = |point: &Point| format!("{key}=[{},{}]", point[0], point[1]);
        match self {
            Self::Power(value) | Self::HcrbMax(value) | Self::BandwidthRatioMax(value) => format!("{key}={value}"),
            Self::Target { point, .. } | Self::WorldTarget { point, .. } => at(point),
            Self::WorldReflection { coefficient, .. } => format!("{key}={coefficient}"),
            Self::WorldImpairment { value, .. } => format!("{key}={value}"),
            Self::Weights(None) => format!("{key}=auto"),
            Self::Weights(Some(beams)) => {
                format!("{key}={}", serde_json::to_string(beams).expect("finite beams are valid JSON"))
            }
        }
    }

    /// The key, as reports name the cause of a retune.
    pub fn key(&self) -> String {
        let named = |key: &str, id: &Option<String>| match id {
            Some(id) => format!("{key}.{id}"),
            None => key.to_owned(),
        };
        match self {
            Self::Power(_) => "power_dbm".into(),
            Self::HcrbMax(_) => "hcrb_max_m2".into(),
            Self::BandwidthRatioMax(_) => "bandwidth_ratio_max".into(),
            Self::Target { id, .. } => named("target", id),
            Self::Weights(_) => "weights".into(),
            Self::WorldTarget { id, .. } => named("world.target", id),
            Self::WorldReflection { id, .. } => named("world.reflection", id),
            Self::WorldImpairment { id, key, .. } => format!("world.impairment.{id}.{key}"),
        }
    }

    /// Whether the scene has the target, or the impairment's number, that this names.
    pub fn check_id(&self, scene: &Scene) -> Result<()> {
        match self {
            Self::Target { id, .. } | Self::WorldTarget { id, .. } | Self::WorldReflection { id, .. } => {
                scene.target_index(id.as_deref()).map(drop).map_err(Error::input)
            }
            Self::WorldImpairment { id, key, value } => {
                scene.impairment_number(id, key, *value).map(drop).map_err(Error::input)
            }
            _ => Ok(()),
        }
    }

    /// Whether this can be meant in a scene: that the target is there, that it can stand where the command says, and that
    /// an echo of this level is one that receivers are made for.
    pub fn check(&self, scene: &Scene) -> Result<()> {
        let checked = match self {
            Self::Target { id, point } | Self::WorldTarget { id, point } => {
                scene.target_index(id.as_deref()).and_then(|_| scene.check_target_at(&self.key(), *point))
            }
            Self::WorldReflection { id, coefficient } => scene.target_index(id.as_deref()).and_then(|index| {
                let mut changed = scene.seen_by(index, 0, 0);
                changed.channel.reflection_coefficient = *coefficient;
                changed.check_air()
            }),
            Self::WorldImpairment { id, key, value } => scene.impairment_number(id, key, *value).map(drop),
            Self::Power(power_dbm) => {
                let mut changed = scene.clone();
                changed.constraints.power_dbm = *power_dbm;
                changed.check_air()
            }
            _ => Ok(()),
        };
        checked.map_err(|what| Error::input(what.replacen("constraints.", "", 1)))
    }

    /// The change to the simulated world that this asks for, if it asks for one; an error where it cannot be meant.
    pub fn world_change(&self, scene: &Scene) -> Result<Option<WorldChange>> {
        self.check(scene)?;
        let index = |id: &Option<String>| scene.target_index(id.as_deref()).map_err(Error::input);
        Ok(match self {
            Self::WorldTarget { id, point } => Some(WorldChange::Target { target: index(id)?, point: *point }),
            Self::WorldReflection { id, coefficient } => {
                Some(WorldChange::Reflection { target: index(id)?, x: *coefficient })
            }
            Self::WorldImpairment { id, key, value } => {
                let (impairment, number) = scene.impairment_number(id, key, *value).map_err(Error::input)?;
                Some(WorldChange::Impairment { impairment, number, value: *value })
            }
            _ => None,
        })
    }
}

/// Reads a weights file (JSON, `{"w_c": [[re,im]…], "w_0": [[re,im]…]}`, √W; what `issc optimize --json` prints is one).
pub fn read_weights(path: &Path) -> Result<Beams> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    parse_weights(&text).map_err(|what| Error::file(path, what))
}

/// The beams of an object that says more than them, as the optimizer's report does.
fn only_beams(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(mut object) if object.contains_key("w_c") && object.contains_key("w_0") => {
            object.retain(|key, _| key == "w_c" || key == "w_0");
            object.into()
        }
        other => other,
    }
}

fn parse_weights(text: &str) -> Result<Beams, String> {
    let beams: Beams = serde_json::from_str(text)
        .map(only_beams)
        .and_then(serde_json::from_value)
        .map_err(|error| format!("{error}; accepted: {{\"w_c\": [[re,im], …], \"w_0\": [[re,im], …]}} in √W"))?;
    let finite = |vector: &nalgebra::DVector<num_complex::Complex64>| vector.iter().all(|weight| weight.is_finite());
    match (beams.w_c.len(), beams.w_0.len()) {
        (c, o) if c != o => Err(format!("w_c has {c} weights, w_0 has {o}; accepted: one per antenna in both")),
        (0, _) => Err("w_c is empty; accepted: one weight per antenna".into()),
        _ if !finite(&beams.w_c) || !finite(&beams.w_0) => Err("a weight is not finite".into()),
        _ => Ok(beams),
    }
}

/// `FRAME:KEY=VALUE`, as `--at` takes it.
pub fn parse_at(text: &str) -> Result<(u64, Command)> {
    let wrong = || Error::input(format!("--at {text}: accepted: FRAME:KEY=VALUE with FRAME a whole number"));
    let (frame, command) = text.split_once(':').ok_or_else(wrong)?;
    Ok((frame.trim().parse().map_err(|_| wrong())?, Command::parse(command)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_their_own_line() {
        for line in [
            "power_dbm=-3.5",
            "hcrb_max_m2=0.00005",
            "target=[90,40.5]",
            "weights=auto",
            "world.target=[80,60]",
            "world.reflection=0.25",
            "world.reflection.bus=0",
            "world.target.car-2=[80,60]",
            "target.car=[80,60]",
        ] {
            let command = Command::parse(line).unwrap();
            assert_eq!(Command::parse(&command.to_line()).unwrap(), command, "{line}");
        }
        let beams = r#"weights={"w_c":[[0.01,0],[0,0.02]],"w_0":[[0,0],[0.001,0]]}"#;
        let command = Command::parse(beams).unwrap();
        assert_eq!(Command::parse(&command.to_line()).unwrap(), command);
    }

    #[test]
    fn mistakes_name_key_value_and_what_is_accepted() {
        for (line, error) in [
            ("power_dbm=lots", "power_dbm: found `lots`; accepted: -200 to 100 dBm"),
            ("power_dbm=1e308", "power_dbm: found `1e308`; accepted: -200 to 100 dBm"),
            ("hcrb_max_m2=-1", "hcrb_max_m2: found `-1`; accepted: 1e-15 to 1e12 m²"),
            ("hcrb_max_m2=nan", "hcrb_max_m2: found `nan`; accepted: 1e-15 to 1e12 m²"),
            ("powr_dbm=1", "unknown key `powr_dbm`; the nearest known key is `power_dbm`"),
            ("world.reflection=-1", "world.reflection: found `-1`; accepted: 0 to 1000"),
            ("target=[1]", "target: found `[1]`; accepted: [x, y], two finite numbers from -100000 to 100000 m"),
            ("weights=best", "weights: accepted: @FILE or auto"),
        ] {
            let found = Command::parse(line).unwrap_err();
            assert_eq!((found.to_string().as_str(), found.exit_status()), (error, 2));
        }
        assert!(parse_at("x:power_dbm=1").unwrap_err().to_string().contains("FRAME:KEY=VALUE"));
    }

    #[test]
    fn a_target_is_found_by_its_id_and_where_it_cannot_stand_the_command_is_refused() {
        let scene = Scene::paper();
        let change = |line: &str| Command::parse(line).unwrap().world_change(&scene).map_err(|error| error.to_string());
        let moved = WorldChange::Target { target: 0, point: [80.0, 60.0] };
        assert_eq!(change("world.target=[80,60]"), Ok(Some(moved)));
        assert_eq!(change("world.target.target=[80,60]"), Ok(Some(moved)));
        assert_eq!(change("target=[80,60]"), Ok(None));
        for (line, said) in [
            ("world.target.car=[80,60]", "the scene has no target `car`; accepted: target"),
            ("world.target=[-80,60]", "world.target = [-80, 60] is behind an array"),
            ("target=[-80,60]", "target = [-80, 60] is behind an array"),
            ("target=[500,50]", "target = [500, 50] makes a path of"),
            ("world.reflection.car=1", "the scene has no target `car`"),
        ] {
            let found = change(line).unwrap_err();
            assert!(found.starts_with(said), "{found}");
        }
        assert!(Command::parse("target.car=[80,60]").unwrap().check_id(&scene).is_err());
        assert!(Command::parse("target=[-80,60]").unwrap().check_id(&scene).is_ok());
    }

    #[test]
    fn what_the_optimizer_prints_is_a_weights_file() {
        let text = r#"{"method":"global","w_c":[[0.01,0]],"w_0":[[0,0.02]],"iterations":5}"#;
        assert_eq!(parse_weights(text).unwrap().w_0[0].im, 0.02);
        assert!(parse_weights(r#"{"w_c":[[0.01,0]],"w_o":[[0,0.02]]}"#).unwrap_err().contains("accepted"));
    }
}
