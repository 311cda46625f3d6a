//! Lists of targets and receivers: what they mean, what is refused, and that they survive being written.

use super::*;

pub(super) const LISTS: &str = r#"
[[target]]
id = "car"
position_m = [100.0, 50.0]
velocity_m_s = [10.0, 0.0]
reflection_coefficient = 0.6

[[target]]
id = "bird"
position_m = [60.0, -20.0]
reflection_coefficient = 0.1
believed = false

[[receiver]]
kind = "sensing"
position_m = [0.0, 50.0]
antennas = 4
noise_dbm = -50.0

[[receiver]]
kind = "communication"
position_m = [20.0, 30.0]
noise_dbm = -50.0

[[receiver]]
id = "guest"
kind = "communication"
position_m = [40.0, -5.0]
noise_dbm = -60.0

[[receiver]]
id = "roof"
kind = "sensing"
position_m = [0.0, -70.0]
antennas = 8
noise_dbm = -55.0
"#;

/// The paper's scene without the keys that lists replace, and with these lines instead.
pub(super) fn listed(lists: &str) -> String {
    let replaced = [
        "target =",
        "sensing_receiver =",
        "communication_receiver =",
        "receive_antennas =",
        "communication_noise_dbm =",
        "sensing_noise_dbm =",
        "reflection_coefficient =",
    ];
    let kept = PAPER_TOML.lines().filter(|line| !replaced.iter().any(|key| line.starts_with(key)));
    kept.collect::<Vec<_>>().join("\n") + "\n" + lists
}

fn error(text: &str) -> String {
    Scene::from_toml(text, "s.toml").unwrap_err().to_string()
}

#[test]
fn the_single_keys_are_a_list_of_one_under_the_default_ids() {
    let scene = Scene::paper();
    let [target] = scene.targets().try_into().unwrap();
    assert_eq!((target.id.as_str(), target.position_m, target.believed), ("target", [100.0, 50.0], true));
    assert_eq!(target.reflection_coefficient, scene.channel.reflection_coefficient);
    let [communication, sensing] = scene.receivers().try_into().unwrap();
    assert_eq!((communication.id.as_str(), communication.antennas), ("communication-receiver", 1));
    assert_eq!((sensing.id.as_str(), sensing.antennas), ("sensing-receiver", 4));
    assert_eq!(sensing.position_m, [0.0, 50.0]);
    // What changes the single keys afterwards changes the list.
    let moved = Scene { geometry: Geometry { target: [90.0, 40.0], ..scene.geometry.clone() }, ..scene.clone() };
    assert_eq!(moved.targets()[0].position_m, [90.0, 40.0]);
    assert_eq!(scene.seen_by(0, 0, 0), scene);
}

#[test]
fn the_single_keys_of_a_scene_with_lists_speak_of_the_first_ones() {
    let scene = Scene::from_toml(&listed(LISTS), "s.toml").unwrap();
    assert_eq!(scene.geometry, Scene::paper().geometry);
    assert_eq!(scene.channel, Scene::paper().channel);
    assert_eq!((scene.array.receive_antennas, scene.target.velocity_m_s), (4, [10.0, 0.0]));
    let ids = |receivers: Vec<SceneReceiver>| receivers.into_iter().map(|receiver| receiver.id).collect::<Vec<_>>();
    assert_eq!(ids(scene.communication_receivers()), ["communication-receiver", "guest"]);
    assert_eq!(ids(scene.sensing_receivers()), ["sensing-receiver", "roof"]);
    assert_eq!(ids(scene.receivers()), ["sensing-receiver", "communication-receiver", "guest", "roof"]);
    assert!(!scene.targets()[1].believed);
}

#[test]
fn a_scene_seen_by_one_receiver_of_each_kind_has_their_numbers_in_the_single_keys() {
    let seen = Scene::from_toml(&listed(LISTS), "s.toml").unwrap().seen_by(1, 1, 1);
    assert!(seen.target_list.is_empty() && seen.receiver_list.is_empty());
    assert_eq!((seen.geometry.target, seen.channel.reflection_coefficient), ([60.0, -20.0], 0.1));
    assert_eq!(seen.target, Target::default());
    assert_eq!((seen.geometry.communication_receiver, seen.channel.communication_noise_dbm), ([40.0, -5.0], -60.0));
    assert_eq!((seen.geometry.sensing_receiver, seen.channel.sensing_noise_dbm), ([0.0, -70.0], -55.0));
    assert_eq!((seen.array.receive_antennas, seen.array.transmit_antennas), (8, 4));
    seen.check().unwrap();
}

#[test]
fn both_forms_survive_being_written_as_they_are() {
    for text in [listed(LISTS), PAPER_TOML.to_owned()] {
        let scene = Scene::from_toml(&text, "s.toml").unwrap();
        let written = toml::to_string(&scene).unwrap();
        assert_eq!(Scene::from_toml(&written, "again").unwrap(), scene);
        assert_eq!(written.contains("[[target]]"), text.contains("[[target]]"));
        assert!(!written.contains("nan"), "{written}");
    }
    // A change of the single keys of a scene with lists is written where its list has the number.
    let mut scene = Scene::from_toml(&listed(LISTS), "s.toml").unwrap();
    scene.geometry.target = [70.0, 7.0];
    let again = Scene::from_toml(&toml::to_string(&scene).unwrap(), "again").unwrap();
    assert_eq!(again.targets(), scene.targets());
}

#[test]
fn a_list_beside_a_key_that_it_replaces_is_refused_naming_both() {
    let text = listed(LISTS);
    for (section, key) in [
        ("geometry", "target = [1.0, 2.0]"),
        ("geometry", "sensing_receiver = [1.0, 2.0]"),
        ("geometry", "communication_receiver = [1.0, 2.0]"),
        ("array", "receive_antennas = 4"),
        ("channel", "communication_noise_dbm = -50.0"),
        ("channel", "sensing_noise_dbm = -50.0"),
        ("channel", "reflection_coefficient = 0.6"),
    ] {
        let said = error(&text.replace(&format!("[{section}]"), &format!("[{section}]\n{key}")));
        let path = format!("s.toml: {section}.{} and [[", key.split(' ').next().unwrap());
        assert!(said.starts_with(&path) && !said.contains('\n'), "{said}");
    }
    let said = error(&format!("[target]\nvelocity_m_s = [1.0, 0.0]\n{text}"));
    assert_eq!(said, "s.toml: [target] and [[target]] say the same; accepted: one of the two");
}

#[test]
fn mistakes_in_lists_name_the_entry_and_what_is_accepted() {
    let with = |from: &str, to: &str| {
        assert!(LISTS.contains(from), "{from}");
        error(&listed(&LISTS.replacen(from, to, 1)))
    };
    for (from, to, named) in [
        ("id = \"car\"", "id = \"bird\"", "target[1].id = \"bird\" is that of another one"),
        ("id = \"car\"", "id = \"\"", "target[0].id = \"\"; accepted: one or more of"),
        ("id = \"car\"", "id = \"a car\"", "target[0].id = \"a car\"; accepted: one or more of"),
        ("id = \"guest\"", "id = \"roof\"", "receiver[3].id = \"roof\" is that of another one"),
        ("id = \"car\"", "id = \"car\"\nbelieved = false", "accepted: one or more with believed = true"),
        ("[60.0, -20.0]", "[0.0, -70.0]", "target[1].position_m = [0.0, -70.0] is where the sensing receiver stands"),
        ("[60.0, -20.0]", "[0.0, 0.0]", "target[1].position_m = [0.0, 0.0] is where the transmitter stands"),
        ("[60.0, -20.0]", "[inf, 0.0]", "target[1].position_m"),
        ("= 0.1", "= -0.1", "target[1].reflection_coefficient = -0.1 is out of range"),
        ("noise_dbm = -60.0", "noise_dbm = nan", "receiver[2].noise_dbm = NaN"),
        ("antennas = 8", "antennas = 0", "receiver[3].antennas = 0 is out of range; accepted: 1 to 256"),
        ("antennas = 8", "", "a sensing receiver needs `antennas`"),
        ("antennas = 4", "antenas = 4", "the nearest known key is `antennas`"),
        ("velocity_m_s", "velocity", "the nearest known key is `velocity_m_s`"),
        (
            "noise_dbm = -60.0",
            "noise_dbm = -60.0\nantennas = 2",
            "receiver[2].antennas = 2 is out of range; accepted with kind = \"communication\": 1",
        ),
    ] {
        let said = with(from, to);
        assert!(said.starts_with("s.toml") && said.contains(named) && !said.contains('\n'), "{said}");
    }
}

#[test]
fn a_scene_needs_a_target_and_a_receiver_of_each_kind() {
    let targets = LISTS.split("[[receiver]]").next().unwrap();
    for (lists, named) in [
        (targets.to_owned(), "geometry.communication_receiver is missing; accepted: this key, or a list [[receiver]]"),
        (LISTS.replace(targets, ""), "geometry.target is missing; accepted: this key, or a list [[target]]"),
        (
            LISTS.replace("\"communication\"\npos", "\"sensing\"\nantennas = 4\npos"),
            "none with kind = \"communication\"",
        ),
    ] {
        assert!(error(&listed(&lists)).contains(named), "{}", error(&listed(&lists)));
    }
    let empty = format!("target = []\n{}", listed(&LISTS.replace(targets, "")));
    assert!(error(&empty).contains("[[target]] is empty; accepted: one target or more"), "{}", error(&empty));
    let entry =
        |n: usize| format!("[[target]]\nid = \"t{n}\"\nposition_m = [50.0, {n}.0]\nreflection_coefficient = 1.0\n");
    let many: String = (0..=MAX_TARGETS).map(entry).collect();
    assert!(error(&listed(&LISTS.replace(targets, &many))).contains("[[target]] has 9 entries; accepted: 1 to 8"));
}
