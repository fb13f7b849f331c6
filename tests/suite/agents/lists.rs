//! Agents found again: filters, counts and pages, and what each generation of clients is shown.

use serde_json::json;

use super::{AGENTS, column, full_request, legacy, path};
use crate::harness::{Gatelet, NOBODY, on_both_engines};

on_both_engines! {
    async fn lists_filter_and_count_the_same_agents(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for (name, tags, hidden) in [
            ("Alpha", vec!["red", "big"], false),
            ("Alphabet", vec!["red"], false),
            ("beta", vec!["big"], false),
            ("Ghost", vec!["red"], true),
        ] {
            owner.create_agent(&json!({"name": name, "tags": tags, "hidden": hidden})).await;
        }
        let told = owner.create_agent(&json!({"name": "told ü"})).await;
        owner.post(&path(&told, "/messages"), &json!({"input": "hello"})).await.expect(200);
        for (query, expected) in [
            ("", vec!["Alpha", "Alphabet", "beta", "told ü"]),
            ("&name=Alpha", vec!["Alpha"]),
            ("&name=alpha", vec![]),
            ("&name=told+%C3%BC", vec!["told ü"]),
            ("&query_text=ALPHA", vec!["Alpha", "Alphabet"]),
            ("&query_text=%25", vec![]),
            ("&tags=red", vec!["Alpha", "Alphabet"]),
            ("&tags=red&tags=big", vec!["Alpha", "Alphabet", "beta"]),
            ("&tags=red&tags=big&match_all_tags=true", vec!["Alpha"]),
            ("&tags=none", vec![]),
            ("&tags=red&query_text=bet", vec!["Alphabet"]),
            ("&last_stop_reason=end_turn", vec!["told ü"]),
            ("&last_stop_reason=error", vec![]),
            ("&show_hidden_agents=true&tags=red", vec!["Alpha", "Alphabet", "Ghost"]),
            ("&project_id=elsewhere", vec![]),
            ("&template_id=none", vec![]),
        ] {
            let list = owner.get(&format!("{AGENTS}?order=asc{query}")).await.expect(200);
            assert_eq!(column(&list, "name"), expected, "{query}");
            let count = owner.get(&format!("{AGENTS}count?order=asc{query}")).await.expect(200);
            assert_eq!(count, expected.len(), "{query}");
        }
        let by_completion = owner.get(&format!("{AGENTS}?order_by=last_run_completion")).await.expect(200);
        assert_eq!(by_completion[0]["id"], told.as_str());
    }

    async fn paging_shows_every_agent_once_and_ends(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let mut made = Vec::new();
        for number in 0..7 {
            let tag = if number % 2 == 0 { "even" } else { "odd" };
            made.push(owner.create_agent(&json!({"name": format!("{number}"), "tags": [tag]})).await);
        }
        let newest_first: Vec<String> = made.iter().rev().cloned().collect();
        let even: Vec<String> = newest_first.iter().step_by(2).cloned().collect();
        for (query, expected) in [
            ("", &newest_first),
            ("&order=desc", &newest_first),
            ("&order=asc", &made),
            ("&tags=even", &even),
            ("&order_by=updated_at", &newest_first),
            ("&order_by=last_run_completion&order=asc", &made),
        ] {
            for limit in [1, 2, 3, 7, 50] {
                for (cursor, start) in [("after", None), ("before", expected.last())] {
                    let mut seen: Vec<String> = Vec::new();
                    let mut last = start.cloned();
                    loop {
                        let cursor = last.map_or(String::new(), |id| format!("&{cursor}={id}"));
                        let url = format!("{AGENTS}?limit={limit}{query}{cursor}");
                        let page = column(&owner.get(&url).await.expect(200), "id");
                        assert!(page.len() <= limit && seen.len() <= expected.len(), "{url}");
                        let (Some(first), Some(end)) = (page.first(), page.last()) else { break };
                        last = Some(if start.is_none() { end.clone() } else { first.clone() });
                        seen = if start.is_none() { [seen, page].concat() } else { [page, seen].concat() };
                    }
                    let expected = if start.is_none() { &expected[..] } else { &expected[..expected.len() - 1] };
                    assert_eq!(seen, expected, "{cursor} limit={limit}{query}");
                }
            }
            for cursor in [NOBODY, "agent-1", "garbage", "%00", &made[0].to_uppercase()] {
                for parameter in ["after", "before"] {
                    let answer = owner.get(&format!("{AGENTS}?{parameter}={cursor}{query}")).await;
                    assert!(
                        answer.status == 404 || answer.expect(200) == json!([]),
                        "{parameter}={cursor}: {}",
                        answer.text
                    );
                }
            }
        }
        let window = owner.get(&format!("{AGENTS}?order=asc&after={}&before={}", made[1], made[4])).await.expect(200);
        assert_eq!(column(&window, "id"), made[2..4]);
    }
}

#[tokio::test]
async fn relationships_are_shown_as_the_clients_generation_expects() {
    let server = Gatelet::ephemeral().await;
    let made = server.owner().post(AGENTS, &full_request()).await.expect(200);
    let url = path(made["id"].as_str().unwrap(), "");
    let everything = "blocks memory tags tools secrets tool_exec_environment_variables";
    let current = server.owner().with("x-stainless-package-version", "1.7.1");
    let old = legacy(&server.owner());
    for (client, query, expected) in [
        (&current, "", ""),
        (&server.owner(), "", ""),
        (&current.with("user-agent", "curl/8"), "", ""),
        (&server.owner().with("user-agent", "letta-client/1.3.0"), "", ""),
        (&current, "include=agent.tags&include=agent.tools", "tags tools"),
        (&current, "include=agent.blocks", "blocks memory"),
        (&current, "include=agent.secrets&include=agent.identities", "secrets tool_exec_environment_variables"),
        (&old, "", everything),
        (&server.owner().with("user-agent", "Mozilla/5.0"), "", everything),
        (&old, "include_relationships=tags&include_relationships=tools", "tags tools"),
        (&old, "include_relationships=", ""),
    ] {
        let one = client.get(&format!("{url}?{query}")).await.expect(200);
        let list = client.get(&format!("{AGENTS}?{query}")).await.expect(200);
        assert_eq!(list, json!([one]), "{query}");
        let mut shown = one.clone();
        shown["memory"] = one["memory"]["blocks"].clone();
        for key in everything.split(' ') {
            let wanted = expected.split(' ').any(|word| word == key);
            assert_eq!(shown[key].as_array().is_some_and(|items| !items.is_empty()), wanted, "{key} for ?{query}");
        }
    }
    // Answers to changes show everything to everyone.
    let changed = current.patch(&url, &json!({"name": "again"})).await.expect(200);
    assert_eq!((&changed["tools"], &changed["secrets"]), (&made["tools"], &made["secrets"]));
}

#[tokio::test]
async fn a_long_list_is_searched_to_its_end() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let mut rare = Vec::new();
    for number in 0..410 {
        let is_rare = number % 100 == 3;
        let id = owner.create_agent(&json!({"tags": [if is_rare { "rare" } else { "common" }]})).await;
        rare.extend(is_rare.then_some(id));
    }
    assert_eq!(owner.get(&format!("{AGENTS}count")).await.expect(200), 410);
    assert_eq!(column(&owner.get(&format!("{AGENTS}?tags=rare&order=asc&limit=3")).await.expect(200), "id"), rare[..3]);
    let rest = owner.get(&format!("{AGENTS}?tags=rare&order=asc&after={}", rare[2])).await.expect(200);
    assert_eq!(column(&rest, "id"), rare[3..]);
}
