//! The manual page and the completions: what packages bring along, made by the program itself.

use std::fs;
use std::process::Command;

use crate::scene::{Ran, Scene, TARGET};

/// The options that a command's help shows, such as `--limit`.
fn options(help: &Ran) -> Vec<&str> {
    let options = help.out.split_whitespace().filter(|word| word.starts_with("--"));
    let mut options: Vec<_> =
        options.map(|word| word.trim_end_matches(|letter: char| !letter.is_alphanumeric())).collect();
    options.sort_unstable();
    options.dedup();
    options
}

/// The page as roff writes it: with a backslash before each hyphen.
fn written(text: &str) -> String {
    text.replace('-', r"\-")
}

#[tokio::test]
async fn the_manual_page_has_every_command_with_its_options_and_every_exit_code() {
    let scene = Scene::new(TARGET).await;
    // It needs nothing: no configuration, no secret.
    fs::remove_file(scene.path("config.toml")).unwrap();
    let page = scene.run_to_end(&["man"]).await.exits(0);
    assert!(page.out.contains(".TH bcsync 1") && page.err.is_empty(), "{page}");
    for section in ["COMMANDS", "EXIT STATUS", "FILES", "ENVIRONMENT"] {
        assert!(page.out.contains(section), "{section}: {page}");
    }
    let help = scene.run(&["--help"]).await.exits(0);
    let (commands, codes) = help.out.split_once("Commands:\n").unwrap().1.split_once("Exit codes:\n").unwrap();
    // What is indented further goes on with the line before.
    let commands = commands.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<_> = commands.filter_map(|line| line.split(' ').next().filter(|name| !name.is_empty())).collect();
    assert!(commands.len() > 8, "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let section = written(&format!(".SS \"bcsync {command} "));
        assert!(page.out.contains(&section), "{command}: {page}");
        let help = scene.run_to_end(&[command, "--help"]).await;
        for option in options(&help) {
            assert!(page.out.contains(&written(option)), "{command} {option}: {page}");
        }
    }
    let (_, page_codes) = page.out.split_once("EXIT STATUS").unwrap();
    for code in codes.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(page_codes.contains(&format!(".TP\n\\fB{code}\\fR\n")), "{code}: {page}");
    }
}

/// What bash offers after the last of `words`, with the completions loaded.
async fn offered(scene: &Scene, words: &[&str]) -> Vec<String> {
    let script = scene.run(&["completions", "bash"]).await.exits(0).out;
    fs::write(scene.path("completions"), script).unwrap();
    let last = words.len() - 1;
    let asked = format!(
        "source ./completions; COMP_WORDS=({}); COMP_CWORD={last}; _bcsync bcsync '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[last],
        words[last - 1]
    );
    let output = Command::new("bash").args(["-c", &asked]).current_dir(scene.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_and_options() {
    let scene = Scene::new(TARGET).await;
    assert_eq!(offered(&scene, &["bcsync", "hi"]).await, ["history"]);
    assert_eq!(offered(&scene, &["bcsync", "history", "--fa"]).await, ["--failed"]);
    assert_eq!(offered(&scene, &["bcsync", "links", "ex"]).await, ["export"]);
}

#[tokio::test]
async fn completions_come_for_the_shells_there_are() {
    let scene = Scene::new(TARGET).await;
    for (shell, begins) in [("zsh", "#compdef bcsync"), ("fish", "#")] {
        let script = scene.run_to_end(&["completions", shell]).await.exits(0);
        assert!(script.out.starts_with(begins) && script.out.contains("history"), "{shell}: {script}");
    }
    scene.run(&["completions", "cmd.exe"]).await.exits(2).says("possible values: bash");
}
