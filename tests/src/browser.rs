//! A browser: Chromium without a window, driven as a person would use it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use thirtyfour::{
    ChromiumLikeCapabilities, DesiredCapabilities, Key, WebDriver, WebElement,
    common::capabilities::desiredcapabilities::CapabilitiesHelper, prelude::By,
};
use tokio::runtime::Runtime;

use crate::has_program;

/// Longest time for a page to become what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most stops of the Tab key on one page.
const TABS_MAX: usize = 300;

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

/// A browser, with one window.
pub struct Browser {
    driver: WebDriver,
    runtime: Runtime,
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
        let mut process = command.arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok);
        let port: u16 = said
            .filter_map(|line| line.split("successfully on port ").nth(1).map(str::to_owned))
            .find_map(|rest| rest.trim_end_matches('.').parse().ok())
            .expect("the port of chromedriver");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut wanted = DesiredCapabilities::chrome();
        for word in ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"] {
            wanted.add_arg(word).unwrap();
        }
        wanted.accept_insecure_certs(true).unwrap();
        if way == Way::NoScript {
            let off = json!({ "profile.managed_default_content_settings.javascript": 2 });
            wanted.add_experimental_option("prefs", off).unwrap();
        }
        // The client of WebDriver wants one, though it speaks no TLS here; a second one is no harm.
        let _ = (*conclave_tls::ring_provider()).clone().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let driver = runtime.block_on(WebDriver::new(url, wanted)).unwrap();
        let pictures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
        let pictures = std::env::var_os("CARGO_TARGET_DIR")
            .map_or(pictures, |target| PathBuf::from(target).join("pictures"));
        std::fs::create_dir_all(&pictures).unwrap();
        Some(Browser { driver, runtime, process, way, pictures })
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.wait(self.driver.goto(url)).unwrap();
    }

    /// Returns where it is.
    pub fn url(&self) -> String {
        self.wait(self.driver.current_url()).unwrap().to_string()
    }

    /// Returns the text of the page as it is seen.
    pub fn text(&self) -> String {
        let begun = Instant::now();
        loop {
            // A page may go while it is read.
            let read = self.wait(async { self.driver.find(By::Tag("body")).await?.text().await });
            match read {
                Ok(text) => return text,
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
                let all = self.driver.action_chain().key_down(Key::Control).send_keys("a");
                self.wait(all.key_up(Key::Control).perform()).unwrap();
                self.keys(&text.replace('\n', "\u{e007}"));
            }
            Way::Mouse | Way::NoScript => {
                let field = self.find(By::Id(id.to_owned()));
                self.wait(field.clear()).unwrap();
                self.wait(field.send_keys(text)).unwrap();
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
                self.wait(self.find(By::XPath(path)).click()).unwrap();
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
                    self.keys(&Key::Down.value().to_string());
                    at = self.focus()["id"].as_str().unwrap_or_default().to_owned();
                }
                if !self.wait(self.find(By::Id(id.to_owned())).is_selected()).unwrap() {
                    self.keys(" ");
                }
            }
            Way::Mouse | Way::NoScript => {
                self.wait(self.find(By::Id(id.to_owned())).click()).unwrap();
            }
        }
    }

    /// Presses a button, follows a link or opens a part, by its text.
    pub fn press(&self, text: &str) {
        match self.way {
            Way::Keyboard => {
                self.tab_to(text, |focus| focus["text"] == text);
                let key = if self.focus()["tag"] == "SUMMARY" { " " } else { "\u{e007}" };
                self.keys(key);
            }
            Way::Mouse | Way::NoScript => {
                let words = format!("normalize-space()={}", quoted(text));
                let path = format!("//*[self::button or self::a or self::summary][{words}]");
                self.wait(self.find(By::XPath(path)).click()).unwrap();
            }
        }
    }

    /// Runs a script in the page, and returns what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.wait(self.driver.execute(script, Vec::new())).unwrap().json().clone()
    }

    /// Runs a script that calls its last argument with what it returns.
    pub fn run_async(&self, script: &str) -> Value {
        self.wait(self.driver.set_script_timeout(DEADLINE)).unwrap();
        self.wait(self.driver.execute_async(script, Vec::new())).unwrap().json().clone()
    }

    /// Sets the width of the window, and whether dark colours are wanted.
    pub fn look(&self, width: u32, is_dark: bool) {
        let tools = self.driver.cdp();
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "features": features });
        self.wait(tools.send_raw("Emulation.setEmulatedMedia", media)).unwrap();
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        let name = "Emulation.setDeviceMetricsOverride";
        self.wait(tools.send_raw(name, size)).unwrap();
    }

    /// Keeps a picture of the whole page.
    pub fn picture(&self, name: &str) {
        let tools = self.driver.cdp();
        let asked = json!({ "captureBeyondViewport": true });
        let taken = tools.send_raw("Page.captureScreenshot", asked);
        let taken = self.wait(taken).unwrap();
        let png = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            taken["data"].as_str().unwrap(),
        );
        std::fs::write(self.pictures.join(format!("{name}.png")), png.unwrap()).unwrap();
    }

    fn find(&self, by: By) -> WebElement {
        let begun = Instant::now();
        loop {
            match self.wait(self.driver.find(by.clone())) {
                Ok(found) => return found,
                Err(error) => assert!(
                    begun.elapsed() < DEADLINE,
                    "{by:?} at {}: {error}\n{}",
                    self.url(),
                    self.text()
                ),
            }
        }
    }

    fn keys(&self, keys: &str) {
        self.wait(self.driver.action_chain().send_keys(keys).perform()).unwrap();
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
            self.keys("\u{e004}");
        }
        panic!("the Tab key does not reach {what:?} at {}:\n{}", self.url(), self.text());
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
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
        let _ = self.runtime.block_on(self.driver.clone().quit());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
