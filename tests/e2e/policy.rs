//! The tools for those who write policies.

use crate::harness::portcullis;

/// A file of the source tree.
fn of_the_tree(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_samples_answer_as_their_scenarios_say() {
    let (config, tests) = (of_the_tree("config/gateway.toml"), of_the_tree("config/policies/tests.toml"));
    let run = portcullis(&["policy", "test", "--config", &config, &tests]).ok();
    assert!(run.out().ends_with("38 scenarios, 0 not as expected\n"), "{run}");
    let checked = portcullis(&["policy", "check", "--config", &config]).ok();
    assert!(checked.out().contains(" policies: fine\npolicy set "), "{checked}");
}

#[test]
fn what_is_not_as_expected_is_8_and_says_what_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("p.cedar"), "@id(\"web\") permit (principal, action == Action::\"Shell\", resource);\n").unwrap();
    let scenario = |action: &str, expected: &str| {
        format!("[[scenario]]\nsays = \"s\"\nperson = \"ada\"\nnode = \"web-1\"\naction = \"{action}\"\n{expected}\n")
    };
    for (action, expected, says) in [
        ("Shell", "expect = \"deny\"", "it is allowed (web)"),
        (
            "Files",
            "expect = \"allow\"",
            "no policy lets ada do Files on web-1; ask whoever keeps the policies (default)",
        ),
        ("Shell", "expect = \"allow\"\npolicy = \"db\"", "web decided it, not db"),
        ("Files", "expect = \"deny\"\ncode = \"forbidden\"", "the code is no-rule, not forbidden"),
        ("Shel", "expect = \"allow\"", "there is no action `Shel`; did you mean `Shell`?"),
        ("Exec", "expect = \"allow\"", "Exec is asked with a command"),
        ("Shell", "expect = \"allow\"\nreasn = \"x\"", "reasn"),
    ] {
        std::fs::write(at("t.toml"), scenario(action, expected)).unwrap();
        let run = portcullis(&["policy", "test", "--policies", &at("p.cedar"), &at("t.toml")]).ends(8);
        assert!(run.out().contains(says), "{expected}: {run}");
    }
    std::fs::write(at("t.toml"), scenario("Shell", "expect = \"allow\"")).unwrap();
    let run = portcullis(&["policy", "test", "--json", "--policies", &at("p.cedar"), &at("t.toml")]).ok();
    assert!(run.out().contains("\"ok\": true"), "{run}");
    std::fs::write(at("p.cedar"), "@id(\"web\") permit (principal, action == Action::\"Shel\", resource);\n").unwrap();
    let run = portcullis(&["policy", "test", "--policies", &at("p.cedar"), &at("t.toml")]).ends(3);
    assert!(run.err().contains("did you mean `Action::\"Shell\"`?"), "{run}");
}

#[test]
fn a_question_is_answered_with_who_decided_and_who_was_near() {
    let config = of_the_tree("config/gateway.toml");
    let ask = |rest: &[&str]| {
        let args: Vec<&str> =
            ["policy", "explain", "--config", &config].into_iter().chain(rest.iter().copied()).collect();
        portcullis(&args).ok().out()
    };
    assert_eq!(
        ask(&["--person", "alice", "--node", "web-1", "--tag", "env=dev", "Shell"]),
        "allowed by developers-outside-production\n"
    );
    let prod = ["--node", "db-1", "--tag", "env=prod", "--tag", "team=db"];
    let on_call = [&["--person", "bob", "--group", "on-call", "--reason", "INC-42"], &prod[..], &["Shell"]].concat();
    assert_eq!(ask(&on_call), "allowed by production-by-ticket\n  lasts at most 14400 s\n  may be silent for 900 s\n");
    let denied = ask(&["--person", "alice", "--node", "web-9", "Shell"]);
    let expected = "denied by policy \"default\": no policy lets alice do Shell on web-9; ask whoever keeps the policies (no-rule)\n\
                    about this, but their conditions do not hold: developers-outside-production\n";
    assert_eq!(denied, expected);
    let json = ask(&["--json", "--person", "alice", "--node", "web-1", "--tag", "env=test", "Shell"]);
    assert!(json.contains("\"allowed\": true"), "{json}");
}

#[test]
fn the_samples_are_in_the_usual_layout_and_others_are_put_into_it() {
    let samples = std::fs::read_dir(of_the_tree("config/policies")).unwrap().map(|entry| entry.unwrap().path());
    let samples = samples.filter(|path| path.extension().is_some_and(|ending| ending == "cedar"));
    for sample in samples {
        portcullis(&["policy", "fmt", "--check", sample.to_str().unwrap()]).ok();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.cedar").display().to_string();
    std::fs::write(&file, "// why\n@id(\"web\")permit(principal,action,resource);").unwrap();
    portcullis(&["policy", "fmt", "--check", &file]).ends(8);
    portcullis(&["policy", "fmt", &file]).ok();
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "// why\n@id(\"web\")\npermit (principal, action, resource);\n"
    );
    portcullis(&["policy", "fmt", "--check", &file]).ok();
}

#[test]
fn what_says_less_than_it_seems_to_is_told_with_its_place() {
    let config = of_the_tree("config/gateway.toml");
    let fine = portcullis(&["policy", "lint", "--config", &config]).ok();
    assert_eq!(fine.out(), "nothing that says less than it seems to\n", "the samples");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.cedar").display().to_string();
    let door = "@id(\"devs\") permit (principal, action in Action::\"Sessions\", resource);\n\
                @id(\"door\") permit (principal, action == Action::\"Forward\", resource);\n\
                @id(\"etc\") forbid (principal, action == Action::\"Upload\", resource) when { context.path like \"/etc/*\" };\n";
    std::fs::write(&file, door).unwrap();
    let told = portcullis(&["policy", "lint", "--policies", &file]).ends(8);
    for part in
        ["`door` permits forwards to whatever the node can reach", "`etc` is particular about files", "p.cedar:2:1"]
    {
        assert!(told.out().contains(part), "{part}: {told}");
    }
}

#[test]
fn a_role_of_people_whom_no_policy_lets_do_anything_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let role = |name: &str, whose: &str| {
        format!("[[realms.roles]]\nrole = \"arn:aws:iam::123456789012:role/{name}\"\n{whose}\n")
    };
    let config = [
        "[[realms]]\nname = \"main\"\nregion = \"us-east-1\"\n".to_owned(),
        role("eve", "people = [\"eve\"]"),
        role("ada", "people = [\"ada\", \"eve\"]"),
        role("ops", "groups = [\"ops\"]"),
        role("dev", "groups = [\"dev\"]"),
        "[[people]]\nname = \"ada\"\nkeys = []\ngroups = [\"dev\"]\n[[people]]\nname = \"eve\"\nkeys = []\ngroups = [\"ops\"]\n".to_owned(),
    ];
    std::fs::write(at("gateway.toml"), config.concat()).unwrap();
    std::fs::create_dir(at("policies")).unwrap();
    std::fs::write(
        at("policies/p.cedar"),
        "@id(\"ada\") permit (principal == Person::\"ada\", action, resource == Node::\"i-0123456789abcdef0\");\n",
    )
    .unwrap();
    let told = portcullis(&["policy", "lint", "--config", at("gateway.toml").to_str().unwrap()]).ends(8);
    let said = told.out().replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("role/eve is of no use: no policy permits eve anything"), "{told}");
    assert!(said.contains("role/ops is of no use: no policy permits ops anything"), "{told}");
    assert!(!said.contains("role/ada is") && !said.contains("role/dev is"), "{told}");
}

#[test]
fn a_certificate_is_asked_about_as_its_facts_say() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let policy = "@id(\"laptops\") permit (principal, action == Action::\"Shell\", resource) when {\n\
                  context.proof == \"certificate\" && context.authentication has certificate &&\n\
                  context.authentication.certificate has authority && context.authentication.certificate.authority == \"people-ca\" &&\n\
                  context.authentication.certificate has principal && context.authentication.certificate.principal == \"ada\" &&\n\
                  context.authentication.certificate.key_id like \"*@laptop\" };\n\
                  @id(\"touched\") permit (principal, action == Action::\"Files\", resource) when {\n\
                  context.authentication.user_verified && context.authentication has key && context.authentication.key == \"SHA256:abc\" };\n";
    std::fs::write(at("p.cedar"), policy).unwrap();
    let explain = |more: &[&str]| {
        let args = ["policy", "explain", "--policies", &at("p.cedar"), "--person", "ada", "--node", "web-1"];
        portcullis(&[&args[..], more].concat())
    };
    let ca = ["--certificate", "ada@laptop", "--authority", "people-ca", "--principal", "ada", "Shell"];
    assert_eq!(explain(&ca).ok().out(), "allowed by laptops\n");
    for without in [&ca[2..], &["--certificate", "ada@desk", "--authority", "people-ca", "Shell"]] {
        let said = explain(without);
        assert!(!said.out().contains("allowed"), "{said}");
    }
    assert_eq!(explain(&["--user-verified", "--key", "SHA256:abc", "Files"]).ok().out(), "allowed by touched\n");
    let scenarios = "[[scenario]]\nsays = \"ada by her certificate\"\nperson = \"ada\"\nnode = \"web-1\"\naction = \"Shell\"\n\
                     certificate = \"ada@laptop\"\nauthority = \"people-ca\"\nprincipal = \"ada\"\nexpect = \"allow\"\n\
                     [[scenario]]\nsays = \"and by her key\"\nperson = \"ada\"\nnode = \"web-1\"\naction = \"Shell\"\nexpect = \"deny\"\n";
    std::fs::write(at("tests.toml"), scenarios).unwrap();
    portcullis(&["policy", "test", "--policies", &at("p.cedar"), &at("tests.toml")]).ok();
}
