//! A browser: Chromium without a window, driven as a person would use it, by the WebDriver protocol
//! (W3C WebDriver 2) and Chromium's DevTools.

use std::{
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{free_port, has_program};

/// Longest time for a page to become what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most stops of the Tab key on one page.
const TABS_MAX: usize = 300;
/// Key of an element in answers (WebDriver 2, section 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys without a letter (WebDriver 2, section 17.4.2).
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
const CONTROL: char = '\u{e009}';
const DOWN: char = '\u{e015}';

/// How a person uses the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With a mouse, and with script.
    Mouse,
    /// With a mouse, and without script.
    NoScript,
    /// With the keyboard alone.
    Keyboard,
}

/// What it took to open a page.
pub struct Opened {
    /// Over the wire, of the page and of all that it asks for.
    pub bytes: u64,
    /// From the request until the page can be used, in milliseconds.
    pub ready_ms: f64,
    /// Where all of it came from.
    pub origins: Vec<String>,
}

/// A browser, with one window.
pub struct Browser {
    client: reqwest::Client,
    runtime: Runtime,
    /// Of the session at chromedriver.
    url: String,
    process: Child,
    way: Way,
    /// Where its pictures go.
    pictures: PathBuf,
}

impl Browser {
    /// Starts one; `None`, with the reason said, if there is none.
    pub fn start(way: Way) -> Option<Browser> {
        if !has_program("chromium") || !has_program("chromedriver") {
            return None;
        }
        let mut command = Command::new("chromedriver");
        // With port 0 it takes one of IPv4, and ends if that is taken at IPv6.
        let port = free_port(&[Ipv4Addr::LOCALHOST.into()]);
        command.arg(format!("--port={port}"));
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = lines.by_ref().map_while(Result::ok);
        assert!(said.any(|line| line.contains("started successfully")), "chromedriver has started");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        // So high that buttons are seen without scrolling: after a picture of more than the window a
        // click that has to scroll first can miss.
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1800"];
        let mut options = json!({ "args": args });
        if way == Way::NoScript {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let wanted = json!({ "acceptInsecureCerts": true, "goog:chromeOptions": options });
        // The client wants one, though it speaks no TLS here; a second one is no harm.
        let _ = (*conclave_tls::ring_provider()).clone().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pictures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
        let pictures = std::env::var_os("CARGO_TARGET_DIR")
            .map_or(pictures, |target| PathBuf::from(target).join("pictures"));
        std::fs::create_dir_all(&pictures).unwrap();
        let (client, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}/session"));
        let mut browser = Browser { client, runtime, url, process, way, pictures };
        let session = json!({ "capabilities": { "alwaysMatch": wanted } });
        let session = browser.post("", session).unwrap();
        browser.url = format!("{}/{}", browser.url, session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).unwrap();
    }

    /// Returns where it is.
    pub fn url(&self) -> String {
        self.get("/url").unwrap().as_str().unwrap().to_owned()
    }

    /// Returns the text of the page as it is seen.
    pub fn text(&self) -> String {
        let begun = Instant::now();
        loop {
            // A page may go while it is read.
            let body = self.element("css selector", "body");
            match body.and_then(|body| self.get(&format!("/element/{body}/text"))) {
                Ok(text) => return text.as_str().unwrap().to_owned(),
                Err(error) => assert!(begun.elapsed() < DEADLINE, "no text: {error}"),
            }
        }
    }

    /// Waits until the page shows a text.
    pub fn shows(&self, wanted: &str) {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if text.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "no {wanted:?} at {}:\n{text}", self.url());
        }
    }

    /// Fills a field, by its id.
    pub fn fill(&self, id: &str, text: &str) {
        match self.way {
            Way::Keyboard => {
                self.tab_to(&format!("the field {id}"), |focus| focus["id"] == id);
                self.type_keys(&[(CONTROL, true), ('a', true), ('a', false), (CONTROL, false)]);
                self.keys(&text.replace('\n', &ENTER.to_string()));
            }
            Way::Mouse | Way::NoScript => {
                let field = self.find("css selector", &by_id(id));
                self.post(&format!("/element/{field}/clear"), json!({})).unwrap();
                self.post(&format!("/element/{field}/value"), json!({ "text": text })).unwrap();
            }
        }
    }

    /// Chooses in a list, by its id.
    pub fn choose(&self, id: &str, text: &str) {
        match self.way {
            // Letters choose what begins with them.
            Way::Keyboard => {
                self.tab_to(&format!("the list {id}"), |focus| focus["id"] == id);
                self.keys(text);
            }
            Way::Mouse | Way::NoScript => {
                let path = format!("//select[@id='{id}']/option[normalize-space()='{text}']");
                self.click("xpath", &path);
            }
        }
    }

    /// Ticks a box or a choice, by its id.
    pub fn tick(&self, id: &str) {
        match self.way {
            Way::Keyboard => {
                let is_it = |focus: &Value| focus["id"] == id || focus["group"] == group_of(id);
                let focus = self.tab_to(&format!("the box {id}"), is_it);
                // Of a group of choices the chosen one has the focus: arrows go to the others.
                let mut at = focus["id"].as_str().unwrap_or_default().to_owned();
                for _ in 0..8 {
                    if at == id {
                        break;
                    }
                    self.keys(&DOWN.to_string());
                    at = self.focus()["id"].as_str().unwrap_or_default().to_owned();
                }
                let found = self.find("css selector", &by_id(id));
                if self.get(&format!("/element/{found}/selected")).unwrap() == false {
                    self.keys(" ");
                }
            }
            Way::Mouse | Way::NoScript => {
                self.click("css selector", &by_id(id));
            }
        }
    }

    /// Takes the tick of a box away, by its id.
    pub fn tick_off(&self, id: &str) {
        match self.way {
            Way::Keyboard => {
                self.tab_to(&format!("the box {id}"), |focus| focus["id"] == id);
                self.keys(" ");
            }
            Way::Mouse | Way::NoScript => self.click("css selector", &by_id(id)),
        }
    }

    /// Presses a button, follows a link or opens a part, by its text.
    pub fn press(&self, text: &str) {
        match self.way {
            Way::Keyboard => {
                self.tab_to(text, |focus| focus["text"] == text);
                let key = if self.focus()["tag"] == "SUMMARY" { ' ' } else { ENTER };
                self.keys(&key.to_string());
            }
            Way::Mouse | Way::NoScript => {
                let words = format!("normalize-space()={}", quoted(text));
                let path = format!("//*[self::button or self::a or self::summary][{words}]");
                self.click("xpath", &path);
            }
        }
    }

    /// Runs a script in the page, and returns what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).unwrap()
    }

    /// Runs a script that calls its last argument with what it returns.
    pub fn run_async(&self, script: &str) -> Value {
        let most = json!({ "script": u64::try_from(DEADLINE.as_millis()).unwrap() });
        self.post("/timeouts", most).unwrap();
        self.post("/execute/async", json!({ "script": script, "args": [] })).unwrap()
    }

    /// Sets the width of the window, and whether dark colours are wanted.
    pub fn look(&self, width: u32, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tool("Emulation.setEmulatedMedia", json!({ "features": features }));
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.tool("Emulation.setDeviceMetricsOverride", size);
    }

    /// Keeps files that a page sends in a directory.
    pub fn keep_downloads_in(&self, dir: &Path) {
        let place = dir.display().to_string();
        let behaviour = json!({ "behavior": "allow", "downloadPath": place });
        self.tool("Browser.setDownloadBehavior", behaviour);
    }

    /// Opens a page with an empty cache, and waits until it shows a text.
    pub fn open_anew(&self, url: &str, wanted: &str) -> Opened {
        self.tool("Network.clearBrowserCache", json!({}));
        self.open(url);
        self.shows(wanted);
        let found = self.run(
            "const page = performance.getEntriesByType('navigation');
             const all = [...performance.getEntriesByType('resource'), ...page];
             return { bytes: all.reduce((sum, one) => sum + one.transferSize, 0),
                places: all.map((one) => new URL(one.name).origin), ready: page[0].domInteractive }",
        );
        let places = found["places"].as_array().unwrap().iter();
        Opened {
            bytes: found["bytes"].as_u64().unwrap(),
            ready_ms: found["ready"].as_f64().unwrap(),
            origins: places.map(|place| place.as_str().unwrap().to_owned()).collect(),
        }
    }

    /// Keeps a picture of what is seen.
    pub fn picture(&self, name: &str) {
        self.capture(name, json!({}));
    }

    /// Keeps a picture of the whole page. Chromium misses clicks after it, until the next
    /// [`Browser::look`].
    pub fn whole_picture(&self, name: &str) {
        self.capture(name, json!({ "captureBeyondViewport": true }));
    }

    fn capture(&self, name: &str, how: Value) {
        let taken = self.tool("Page.captureScreenshot", how);
        let taken = taken["data"].as_str().unwrap();
        let png = data_encoding::BASE64.decode(taken.as_bytes()).unwrap();
        std::fs::write(self.pictures.join(format!("{name}.png")), png).unwrap();
    }

    /// Asks Chromium by its DevTools protocol.
    fn tool(&self, name: &str, parameters: Value) -> Value {
        let asked = json!({ "cmd": name, "params": parameters });
        self.post("/goog/cdp/execute", asked).unwrap()
    }

    fn click(&self, using: &str, value: &str) {
        let found = self.find(using, value);
        self.post(&format!("/element/{found}/click"), json!({})).unwrap();
    }

    /// Waits for an element, and returns its id.
    fn find(&self, using: &str, value: &str) -> String {
        let begun = Instant::now();
        loop {
            match self.element(using, value) {
                Ok(found) => return found,
                Err(error) => assert!(
                    begun.elapsed() < DEADLINE,
                    "{value} at {}: {error}\n{}",
                    self.url(),
                    self.text()
                ),
            }
        }
    }

    fn element(&self, using: &str, value: &str) -> Result<String, String> {
        let found = self.post("/element", json!({ "using": using, "value": value }))?;
        Ok(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Presses keys, one after the other.
    fn keys(&self, keys: &str) {
        let both = |key| [(key, true), (key, false)];
        self.type_keys(&keys.chars().flat_map(both).collect::<Vec<_>>());
    }

    /// Presses keys and lets them go.
    fn type_keys(&self, keys: &[(char, bool)]) {
        let action = |(key, is_down): &(char, bool)| json!({ "type": if *is_down { "keyDown" } else { "keyUp" }, "value": key });
        let actions: Vec<Value> = keys.iter().map(action).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [keyboard] })).unwrap();
    }

    /// What has the focus: its id, its text, its tag, the group that it is a choice of.
    fn focus(&self) -> Value {
        self.run(
            "const at = document.activeElement; return { id: at.id, tag: at.tagName, group: \
             at.type === 'radio' ? at.name : '', text: at.innerText === undefined ? '' : \
             at.innerText.trim().replace(/\\s+/g, ' ') }",
        )
    }

    /// Goes on with the Tab key until the wanted thing has the focus.
    fn tab_to(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..TABS_MAX {
            let focus = self.focus();
            if is_it(&focus) {
                return focus;
            }
            self.keys(&TAB.to_string());
        }
        panic!("the Tab key does not reach {what:?} at {}:\n{}", self.url(), self.text());
    }

    fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.ask(self.client.post(format!("{}{path}", self.url)).json(&body))
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(self.client.get(format!("{}{path}", self.url)))
    }

    /// Sends a command of WebDriver, and returns the value of its answer.
    fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        let answer: Value = self
            .runtime
            .block_on(async { request.send().await?.json().await })
            .map_err(|error: reqwest::Error| error.to_string())?;
        match answer["value"].get("error") {
            None => Ok(answer["value"].clone()),
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
        }
    }
}

/// Ids may have letters that a selector has another use for.
fn by_id(id: &str) -> String {
    format!("[id='{id}']")
}

/// Choices have their group's name before their own: `pki-test`.
fn group_of(id: &str) -> &str {
    id.split('-').next().unwrap_or_default()
}

/// A text in XPath, which knows no escapes.
fn quoted(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask(self.client.delete(&self.url));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
