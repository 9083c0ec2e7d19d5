//! A real browser, headless Chromium, that the tests drive by its own protocol over a pipe
//! (<https://chromedevtools.github.io/devtools-protocol/>: a JSON object and a NUL each way).

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::command;

/// How long the browser may take for one thing on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser of its own with one page.
pub struct Browser {
    child: Child,
    asks: ChildStdin,
    answers: Receiver<Value>,
    asked: u64,
    /// The page, in the protocol's words.
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Every name leads to this machine. `options` are Chromium's own.
    pub fn start(options: &[String]) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the descriptors 3 and 4.
        let mut shell = command("sh");
        shell.args(["-c", "exec \"$@\" 3<&0 4>&1 >/dev/null 2>&1", "sh", "chromium", "--headless=new", "--no-sandbox"]);
        shell.args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]);
        shell.args(["--remote-debugging-pipe", "--host-resolver-rules=MAP * 127.0.0.1"]);
        shell.arg(format!("--user-data-dir={}", profile.path().display())).args(options).arg("about:blank");
        let mut child = shell.env("HOME", profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { child, asks, answers, asked: 0, session: String::new(), _profile: profile };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let session = browser.ask("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        // A page of an app that says nothing of its age would be shown again without a question.
        browser.ask("Network.enable", &json!({}));
        browser.ask("Network.setCacheDisabled", &json!({ "cacheDisabled": true }));
        browser
    }

    /// Goes to a URL and waits until the page is loaded.
    ///
    /// # Errors
    ///
    /// Chromium's name of why there is no page (`net::ERR_...`).
    pub fn open(&mut self, url: &str) -> Result<(), String> {
        let begun = Instant::now();
        self.evaluate("window.isLeft = true");
        loop {
            match self.ask("Page.navigate", &json!({ "url": url }))["errorText"].as_str() {
                None => break,
                // The networks of other tests come and go on this machine, and the browser begins anew for each.
                Some("net::ERR_NETWORK_CHANGED") if begun.elapsed() < PATIENCE => {}
                Some(error) => return Err(error.to_owned()),
            }
        }
        while self.evaluate("!window.isLeft && document.readyState === 'complete'") != true {
            assert!(begun.elapsed() < PATIENCE, "{url} does not become complete");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What an expression is worth in the page; a promise is waited for.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.asks.write_all(message.to_string().as_bytes()).unwrap();
        self.asks.write_all(&[0]).unwrap();
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
