//! The page in a real browser: Chromium, driven by its own protocol. Where there is none the test says so and ends.

mod browser;

use std::path::Path;
use std::time::Duration;

use browser::{Browser, get, serve};
use serde_json::json;

/// Elements with text whose colour is too near its background's, by WCAG's formula, and controls without a name.
const FAULTS: &str = r#"(() => {
  const parts = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.closest(".skip")) continue;
    const [a, b] = [light(parts(getComputedStyle(element).color).slice(0, 3)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  for (const control of document.querySelectorAll("input, select, button, textarea, canvas")) {
    const name = control.getAttribute("aria-label") || control.getAttribute("aria-labelledby") || control.labels?.length || control.textContent.trim();
    if (!name) found.push(`no name: ${control.outerHTML.slice(0, 80)}`);
  }
  return found;
})()"#;

#[test]
fn the_page_shows_and_changes_a_system() {
    let Some(program) = browser::program() else {
        println!("no Chromium here: the page is not tested; install the package `chromium`");
        return;
    };
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&shots).unwrap();
    let (server, service) = serve("127.0.0.1:0");
    let address = server.address();
    let mut browser = Browser::open(&program);
    browser.resize(1400, 1000, false);
    browser.call("Page.navigate", json!({ "url": format!("http://{address}/") }));
    // It is started by its button, and everything comes.
    browser.until("document.readyState === 'complete' && !document.getElementById('start').hidden");
    browser.value("document.getElementById('start').click()");
    browser.until("window.issc.status?.frame > 130 && window.issc.status.sinr_db.measured !== null");
    browser.resize(1400, 3200, false);
    for topic in ["spectrum", "constellation", "map", "beams"] {
        browser.until(&format!("window.issc.views.{topic}"));
    }
    browser
        .until("!document.getElementById('received').hidden && document.getElementById('received').naturalWidth > 0");
    // Each canvas has something on it.
    for canvas in ["constellation", "spectrum", "waterfall", "map", "plan", "errors", "sinr", "losses", "distortion"] {
        browser.until(&format!(
            "(() => {{ const c = document.getElementById('{canvas}'); if (!c.width) return false; \
             return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }})()"
        ));
    }
    // A change by its control is in force at the frame that the page names.
    let set = |path: &str, value: &str| {
        format!(
            "(() => {{ const form = document.querySelector('form[data-path=\"{path}\"]'); \
             form.querySelector('input').value = '{value}'; form.querySelector('button').click(); }})()"
        )
    };
    let said = "document.querySelector('form[data-path=\"power_dbm\"] .said')";
    browser.until("document.querySelector('form[data-path=\"power_dbm\"]')");
    let picture = browser.value("window.issc.shownPicture");
    browser.value(&set("power_dbm", "-2"));
    browser.until(&format!("{said}.textContent.includes('from frame')"));
    let text = browser.value(&format!("{said}.textContent"));
    let frame: u64 = text.as_str().unwrap().split(' ').nth(3).unwrap().parse().unwrap();
    browser.until(&format!("window.issc.status.frame > {frame} + 101"));
    browser.until("document.querySelector('[data-key=\"power_dbm.plan\"]').textContent === '-2.00'");
    let frames = get(address, "/api/v1/frames?last=1000");
    for line in frames["frames"].as_array().unwrap() {
        let Some(power) = line["sent"]["power_dbm"].as_f64() else { continue };
        let expected = if line["frame"].as_u64().unwrap() < frame { 0.0 } else { -2.0 };
        assert!((power - expected).abs() < 0.01, "{line}");
    }
    // Map, beams with the bound's ellipse, reported ellipse and picture follow.
    browser.until(&format!(
        "[Object.values(window.issc.views.map)[0], window.issc.views.beams[''], Object.values(window.issc.latest)[0]]\
         .every((seen) => seen.frame > {frame})"
    ));
    browser.until(&format!("window.issc.shownPicture > {picture}"));
    // Weights are dropped as a file; one that is none gets the command line's sentence.
    let dropping = |text: &str| {
        let text = serde_json::to_string(text).unwrap();
        format!(
            "(() => {{ const data = new DataTransfer(); data.items.add(new File([{text}], 'w.json')); \
             document.querySelector('form[data-path=\"weights\"] .fields')\
             .dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }})); }})()"
        )
    };
    let said_of_weights = "document.querySelector('form[data-path=\"weights\"] .said').textContent";
    browser.value(&dropping("{\"w_c\": [[0.01, 0]]}"));
    browser.until(&format!("{said_of_weights}.startsWith('weights: ') && {said_of_weights}.includes('accepted')"));
    // A tenth of a milliwatt from each of four antennas, a tenth of that for the sensing stream.
    let weights =
        json!({ "w_c": vec![[9.4e-3, 0.0]; 4], "w_0": [[3e-3, 0.0], [-3e-3, 0.0], [3e-3, 0.0], [-3e-3, 0.0]] });
    browser.value(&dropping(&weights.to_string()));
    browser.until(&format!("{said_of_weights}.includes('from frame')"));
    let text = browser.value(said_of_weights);
    let dropped: u64 = text.as_str().unwrap().split(' ').nth(3).unwrap().parse().unwrap();
    let power_dbm = 10.0 * (4.0 * (9.4e-3f64.powi(2) + 3e-3f64.powi(2)) * 1e3).log10();
    browser.until(&format!("window.issc.status.frame > {dropped} + 8"));
    let frames = get(address, "/api/v1/frames?last=1000");
    let sent = frames["frames"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| Some((line["frame"].as_u64()?, line["sent"]["power_dbm"].as_f64()?)));
    let off = |(frame, power): (u64, f64)| frame >= dropped && (power - power_dbm).abs() > 0.01;
    assert!(
        sent.clone().any(|(frame, _)| frame >= dropped) && !sent.clone().any(off),
        "{power_dbm} from frame {dropped}"
    );
    browser.value("[...document.querySelectorAll('form[data-path=\"weights\"] button')].at(-1).click()");
    browser.until(&format!("!{said_of_weights}.includes('frame {dropped} ')"));
    // A wrong value gets the command line's sentence.
    browser.value(&set("power_dbm", "lots"));
    browser.until(&format!("{said}.textContent === 'power_dbm: found `lots`; accepted: -200 to 100 dBm'"));
    // Nothing is hard to read or without a name, in either colour, and nothing is wider than the screen.
    for (name, width, height, dark) in
        [("desktop", 1400, 1000, false), ("dark", 1400, 1000, true), ("phone", 380, 800, false)]
    {
        browser.resize(width, height, dark);
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(browser.value("document.documentElement.hasAttribute('data-dark')"), json!(dark));
        assert_eq!(browser.value(FAULTS), json!([]), "{name}");
        let over = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(over, json!(0), "{name}: the page is wider than the screen");
        browser.screenshot(&shots.join(format!("{name}.png")));
    }
    // The keyboard reaches every control in the order of the page.
    browser.resize(1400, 1000, false);
    let count = browser.value(
        "[...document.querySelectorAll('a[href], button:not(:disabled), input, select')].filter((e) => e.checkVisibility()).length",
    );
    browser.value("document.activeElement?.blur(); window.walked = new Set()");
    for _ in 0..2 * count.as_u64().unwrap() {
        let key = json!({ "type": "rawKeyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
        browser.call("Input.dispatchKeyEvent", key);
        browser.value("window.walked.add(document.activeElement), undefined");
    }
    let left = browser.value(
        "[...document.querySelectorAll('a[href], button:not(:disabled), input, select')]\
         .filter((e) => e.checkVisibility() && !window.walked.has(e)).map((e) => e.outerHTML)",
    );
    assert_eq!(left, json!([]), "the keyboard does not reach these");
    // Stopped by its button: what stands there is what the status says.
    browser.value("document.getElementById('stop').click()");
    browser.until("window.issc.status.state === 'ended'");
    let status = get(address, "/api/v1/status");
    browser.until(&format!("document.getElementById('frame').textContent === '{}'", status["frame"]));
    for (key, digits, scale) in [
        ("sinr_db.measured", 2, 1.0),
        ("sinr_db.predicted", 2, 1.0),
        ("block_error_rate", 2, 100.0),
        ("target.rmse_m", 2, 1000.0),
        ("target.hcrb_rmse_m", 2, 1000.0),
        ("power_dbm.plan", 2, 1.0),
        ("power_dbm.measured", 2, 1.0),
    ] {
        let value = status.pointer(&format!("/{}", key.replace('.', "/"))).unwrap().as_f64().unwrap();
        // Numbers are written a few times a second: the last ones may be under way.
        let shown = format!("{:.digits$}", value * scale);
        browser.until(&format!("document.querySelector('[data-key=\"{key}\"]').textContent === '{shown}'"));
    }
    // The browser itself notes the one command that was wrong.
    let wrong = |error: &String| error.contains("400") && error.contains("/api/v1/commands");
    browser.errors.retain(|error| !wrong(error));
    assert_eq!(browser.errors, Vec::<String>::new(), "errors in the console");
    // It comes back to a server that was gone.
    service.end();
    drop(server);
    browser.until("document.getElementById('connection').textContent === 'not connected'");
    let (_server, service) = serve(&address.to_string());
    service.start().unwrap();
    browser.until(
        "document.getElementById('connection').textContent === 'connected' && window.issc.status?.state === 'running'",
    );
    service.end();
    println!("screenshots: {}", shots.display());
}
