//! Which scenarios a revision has: the files that the suite ships.

/// The client scenarios of a requirement set that a gateway's connector can be put to.
///
/// Those of OAuth are left out: a connector takes the credentials of an upstream from the
/// server's headers, and never asks an authorization server for any.
pub(crate) fn client_scenarios(set: &str) -> Vec<String> {
    let mut section = "";
    let mut unscored = None;
    let mut scenarios = Vec::new();
    for line in set.lines() {
        let line = line.trim_end();
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            section = line.trim_end_matches(':');
            continue;
        }
        let line = line.trim_start();
        match section {
            "client" => scenarios.extend(line.strip_prefix("- ")),
            "not_scored" => {
                if let Some(scenario) = line.strip_prefix("- scenario: ") {
                    unscored = Some(scenario);
                } else if line == "leg: client" {
                    scenarios.extend(unscored.take());
                }
            }
            _ => {}
        }
    }
    scenarios.retain(|scenario| !scenario.starts_with("auth/"));
    scenarios.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::client_scenarios;

    #[test]
    fn scored_and_unscored_client_scenarios_are_found() {
        let set = "\
# A set.
revision: 2026-07-28
server:
  - ping
client:
  - tools_call
  # A remark.
  - auth/metadata-default
not_scored:
  - scenario: json-schema-2020-12
    leg: server
    reason: pending
  - scenario: json-schema-2020-12-preservation
    leg: client
    reason: added-after-release
";
        assert_eq!(client_scenarios(set), ["tools_call", "json-schema-2020-12-preservation"]);
    }
}
