//! Live commands: `KEY=VALUE` as `issc set`, `--at` and the control socket take them.

use std::path::Path;

use crate::array::Beams;
use crate::blocks::WorldChange;
use crate::scene::Point;
use crate::{Error, Result, config};

/// One change to a running system.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// P_T in dBm.
    Power(f64),
    /// Π in m².
    HcrbMax(f64),
    /// Channel uses per source sample.
    BandwidthRatioMax(f64),
    /// Where the optimizer believes the target to be.
    Target(Point),
    /// Beams to fly instead of the optimizer's; `None` gives the choice back.
    Weights(Option<Beams>),
    /// A change to the simulated world.
    World(WorldChange),
}

const KEYS: [&str; 7] =
    ["power_dbm", "hcrb_max_m2", "bandwidth_ratio_max", "target", "weights", "world.target", "world.reflection"];

impl Command {
    /// Parses `KEY=VALUE`. `weights=@FILE` reads the file here, so that a command is complete in itself.
    pub fn parse(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::input(format!("`{text}`: accepted: KEY=VALUE with KEY one of {}", KEYS.join(", ")))
        })?;
        let (key, value) = (key.trim(), value.trim());
        let wrong = |accepted: &str| Error::input(format!("{key}: found `{value}`; accepted: {accepted}"));
        let number = |accepted: &str, good: fn(f64) -> bool| {
            value
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && good(*number))
                .ok_or_else(|| wrong(accepted))
        };
        let point = || {
            serde_json::from_str::<Point>(value)
                .ok()
                .filter(|point| point.iter().all(|coordinate| coordinate.is_finite()))
                .ok_or_else(|| wrong("[x,y] in metres"))
        };
        Ok(match key {
            "power_dbm" => Self::Power(number("a finite number of dBm", |_| true)?),
            "hcrb_max_m2" => Self::HcrbMax(number("a number of m² above 0", |number| number > 0.0)?),
            "bandwidth_ratio_max" => {
                Self::BandwidthRatioMax(number("channel uses per source sample, above 0", |number| number > 0.0)?)
            }
            "target" => Self::Target(point()?),
            "world.target" => Self::World(WorldChange::Target { target: 0, point: point()? }),
            "world.reflection" => {
                let coefficient = number("a reflection coefficient |β_0|, 0 or above", |number| number >= 0.0)?;
                Self::World(WorldChange::Reflection { target: 0, x: coefficient })
            }
            "weights" if value == "auto" => Self::Weights(None),
            "weights" => match value.strip_prefix('@') {
                Some(file) => Self::Weights(Some(read_weights(Path::new(file))?)),
                None => Self::Weights(Some(parse_weights(value).map_err(|_| wrong("@FILE or auto"))?)),
            },
            _ => {
                let near = config::nearest(key, KEYS.into_iter()).unwrap_or_default();
                return Err(Error::input(format!("unknown key `{key}`; the nearest known key is `{near}`")));
            }
        })
    }

    /// The command as one line that [`Self::parse`] reads anywhere.
    pub fn to_line(&self) -> String {
        let json = |value: &Point| format!("[{},{}]", value[0], value[1]);
        match self {
            Self::Power(value) => format!("power_dbm={value}"),
            Self::HcrbMax(value) => format!("hcrb_max_m2={value}"),
            Self::BandwidthRatioMax(value) => format!("bandwidth_ratio_max={value}"),
            Self::Target(value) => format!("target={}", json(value)),
            Self::World(WorldChange::Target { point, .. }) => format!("world.target={}", json(point)),
            Self::World(WorldChange::Reflection { x, .. }) => format!("world.reflection={x}"),
            Self::Weights(None) => "weights=auto".into(),
            Self::Weights(Some(beams)) => {
                format!("weights={}", serde_json::to_string(beams).expect("finite beams are valid JSON"))
            }
        }
    }

    /// The key, as reports name the cause of a retune.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Power(_) => KEYS[0],
            Self::HcrbMax(_) => KEYS[1],
            Self::BandwidthRatioMax(_) => KEYS[2],
            Self::Target(_) => KEYS[3],
            Self::Weights(_) => KEYS[4],
            Self::World(WorldChange::Target { .. }) => KEYS[5],
            Self::World(WorldChange::Reflection { .. }) => KEYS[6],
        }
    }
}

/// Reads a weights file (JSON, `{"w_c": [[re,im]…], "w_0": [[re,im]…]}`, √W).
pub fn read_weights(path: &Path) -> Result<Beams> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    parse_weights(&text).map_err(|what| Error::file(path, what))
}

fn parse_weights(text: &str) -> Result<Beams, String> {
    let beams: Beams = serde_json::from_str(text)
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
            ("power_dbm=lots", "power_dbm: found `lots`; accepted: a finite number of dBm"),
            ("hcrb_max_m2=-1", "hcrb_max_m2: found `-1`; accepted: a number of m² above 0"),
            ("powr_dbm=1", "unknown key `powr_dbm`; the nearest known key is `power_dbm`"),
            (
                "world.reflection=-1",
                "world.reflection: found `-1`; accepted: a reflection coefficient |β_0|, 0 or above",
            ),
            ("target=[1]", "target: found `[1]`; accepted: [x,y] in metres"),
        ] {
            let found = Command::parse(line).unwrap_err();
            assert_eq!((found.to_string().as_str(), found.exit_status()), (error, 2));
        }
        assert!(parse_at("x:power_dbm=1").unwrap_err().to_string().contains("FRAME:KEY=VALUE"));
    }
}
