"""The class page over HTTP: what students and the teacher do, and what the store keeps."""

import json

import class_server
from class_server import LEFT, Browser, Server, join, shown, teacher

from rlhf_lessons.classroom import rounds
from rlhf_lessons.feedback import new_id

server, source = class_server.server, class_server.source  # fixtures


# Students


def test_a_vote_is_in_the_store_once_however_often_it_is_sent(server):
    ann = join(server)
    task, id = ann.next(), new_id()
    replies = [ann.vote(task["task"], id=id) for _ in range(3)]
    assert [status for status, _ in replies] == [200] * 3
    assert len({reply["seq"] for _, reply in replies}) == 1
    (row,) = server.store.answers()
    assert (row["id"], row["name"], row["payload"], row["ui"]) == (id, "Ann", LEFT, "page")
    assert replies[-1][1]["progress"] == {"done": 1, "passed": 0, "left": 19, "seconds": 0.9}


def test_the_answers_come_in_the_order_in_which_the_store_says_they_were_shown(server):
    ann = join(server)
    task = ann.next()
    ann.vote(task["task"], {"choice": "right", "strength": 2})
    assert [answer["text"] for answer in server.store.answers()[0]["answers"]] == [
        a["text"] for a in task["answers"]
    ]


def test_undo_brings_the_task_back_and_reveal_locks_it(server):
    ann = join(server)
    task = ann.next()["task"]
    ann.vote(task)
    assert ann.ask("/say", {"type": "undo", "id": new_id()})[0] == 200
    assert ann.next()["task"] == task
    assert (
        ann.ask("/say", {"type": "reveal", "id": new_id(), "task": task})[0] == 400
    )  # not before an answer
    ann.vote(task)
    status, found = ann.ask("/say", {"type": "reveal", "id": new_id(), "task": task})
    assert status == 200 and len(found["models"]) == 2
    assert ann.ask("/say", {"type": "undo", "id": new_id()})[0] == 400


def test_an_undo_that_is_sent_twice_takes_back_one_vote(server):
    ann, message = join(server), {"type": "undo", "id": new_id()}
    for _ in range(3):
        ann.vote(ann.next()["task"])
    replies = [ann.ask("/say", message)[1] for _ in range(2)]
    assert replies[0]["seq"] == replies[1]["seq"] and replies[1]["progress"]["done"] == 2 == len(
        server.store.answers()
    )


def test_joining_twice_in_one_browser_is_joining_once(server):
    join(server, "Ann").join("Ann again")
    assert [row["name"] for row in server.store.raters()] == ["Ann"]


def test_after_a_restart_students_go_on_with_the_same_cookie(database, source):
    server = Server(database("class"), source)
    ann = join(server)
    ann.vote(ann.next()["task"])
    task = ann.next()["task"]
    server.close()
    again = Server(database("class"), source)
    ann.port = again.port
    assert ann.next()["task"] == task
    assert ann.vote(task)[1]["progress"]["done"] == 2
    assert ann.ask("/say", {"type": "undo", "id": new_id()})[1]["progress"]["done"] == 1
    again.close()


# The teacher


def test_pause_new_round_and_removal_reach_the_students(server):
    ann, bob, boss = join(server, "Ann"), join(server, "Bob"), teacher(server)
    boss.ask("/teach", {"do": "pause"})
    assert ann.next() == {"state": "paused"}
    boss.ask("/teach", {"do": "round", "kind": "ranking", "family": "all"})
    assert ann.next()["kind"] == "ranking" and len(ann.next()["answers"]) == 4
    bobs = next(row["id"] for row in server.store.raters() if row["name"] == "Bob")
    task = bob.next()["task"]
    boss.ask("/teach", {"do": "hide", "id": bobs, "hidden": True})
    assert bob.next() == {"state": "removed"}
    assert bob.vote(task, {"ranks": [1, 2, 3, 4]}, kind="ranking")[0] == 400
    boss.ask("/teach", {"do": "open", "round": "round 1: pairs"})
    assert ann.next()["kind"] == "pair"


def test_a_hidden_text_is_offered_no_more(server):
    ann, boss = join(server), teacher(server)
    task = ann.next()
    ann.vote(task["task"])
    texts = boss.ask("/texts")[1]["texts"]
    assert {text["text"] for text in texts} == {answer["text"] for answer in task["answers"]}
    boss.ask("/teach", {"do": "hide", "id": texts[0]["id"], "hidden": True})
    assert boss.ask("/texts")[1]["texts"][0]["hidden"]
    later = join(server, "Bob")
    seen = [later.next()]
    for _ in range(29):
        later.vote(seen[-1]["task"])
        seen.append(later.next())
    assert texts[0]["text"] not in [
        answer["text"] for task in seen for answer in task.get("answers", [])
    ]
    boss.ask("/teach", {"do": "hide", "id": texts[0]["id"], "hidden": False})
    assert later.next()["state"] == "task"  # the one that was left


def test_the_console_finds_any_judged_text_the_last_judged_first_and_in_pages(server):
    ann, boss, tasks = join(server), teacher(server), []
    for _ in range(8):
        tasks.append(ann.next())
        ann.vote(tasks[-1]["task"])
    ann.vote(ann.next()["task"], {"reason": "rude"}, kind="flag")
    first, second = boss.ask("/texts")[1], boss.ask("/texts?page=1")[1]
    assert first["of"] == second["of"] == 18 and [
        len(page["texts"]) for page in (first, second)
    ] == [10, 8]
    assert (
        first["texts"][0]["flags"] == ["rude"]
        and first["texts"][2]["prompt"] == tasks[-1]["prompt"]
    )
    assert boss.ask("/texts?flagged")[1]["of"] == 2 and shown(boss, server, "console")["flags"] == 1
    number = tasks[0]["prompt"].split()[-1].rstrip(".")
    found = boss.ask(f"/texts?find=FOX%20{number}%20")[1]["texts"]
    assert {text["text"] for text in found} == {answer["text"] for answer in tasks[0]["answers"]}
    assert boss.ask("/texts?find=nothing%20like%20it")[1] == {"texts": [], "of": 0}
    assert boss.ask("/texts?page=-1")[0] == 400


def test_an_ideal_answer_is_listed_with_its_writer_who_can_be_removed(server):
    ann, boss = join(server, "Rude"), teacher(server)
    boss.ask("/teach", {"do": "round", "kind": "demonstration", "family": "all"})
    ann.vote(ann.next()["task"], {"text": "something rude"}, kind="demonstration")
    (text,) = boss.ask("/texts")[1]["texts"]
    assert (text["text"], text["by"]) == ("something rude", "Rude")
    boss.ask("/teach", {"do": "hide", "id": text["id"], "hidden": True})
    assert ann.next() == {"state": "removed"} and boss.ask("/export/demonstrations")[1] == ""


def test_a_show_of_hands_is_one_event_that_can_be_corrected_until_the_reveal(server):
    boss, screen = teacher(server), Browser(server.port)
    screen.ask("/projector?key=projector-key")
    boss.ask("/teach", {"do": "pair"})
    pair = screen.ask("/show/projector")[1]["pair"]
    assert len(pair["answers"]) == 2 and pair["models"] is None and pair["counts"] is None
    assert boss.ask("/teach", {"do": "hands", "counts": {"left": 1700}})[0] == 400
    boss.ask("/teach", {"do": "hands", "counts": {"left": 7, "right": 9}})
    boss.ask("/teach", {"do": "hands", "counts": {"left": 17, "right": 9, "tie": 2}})
    assert screen.ask("/show/projector")[1]["pair"]["models"] is None
    boss.ask("/teach", {"do": "reveal", "on": True})
    assert set(screen.ask("/show/projector")[1]["pair"]["models"]) <= {"sft", "ppo", "base"}
    (row,) = server.store.answers()
    assert (
        row["payload"] == {"left": 17, "right": 9, "tie": 2, "bad": 0}
        and row["rater_kind"] == "teacher"
    )
    assert boss.ask("/teach", {"do": "hands", "counts": {"left": 1}})[0] == 400


def test_the_projector_shows_no_name_of_a_student_and_models_only_after_the_reveal(server):
    ann, boss = join(server, "Zaphod Unmistakable"), teacher(server)
    for _ in range(8):
        ann.vote(ann.next()["task"])
    blind = shown(boss, server)
    assert "Zaphod" not in json.dumps(blind) and (
        blind["votes"],
        blind["minute"],
        blind["voted"],
    ) == (8, 8, 1)
    assert {line["model"] for line in blind["board"]} <= {"model A", "model B", "model C"}
    boss.ask("/teach", {"do": "reveal", "on": True})
    assert {line["model"] for line in boss.ask("/show/projector")[1]["board"]} <= {
        "sft",
        "ppo",
        "base",
    }
    assert boss.ask("/show/console")[1]["raters"][0]["name"] == "Zaphod Unmistakable"


def test_an_export_has_no_names_unless_asked_for_and_says_what_is_left_out(server):
    ann, boss = join(server, "Zaphod"), teacher(server)
    ann.vote(ann.next()["task"])
    ann.vote(ann.next()["task"], {"choice": "tie"})
    named, blind = (boss.ask(f"/export/preference{query}")[1] for query in ("", "?anonymous"))
    assert (
        named["rater"] == "Zaphod"
        and blind["rater"] == "rater 1"
        and named["chosen"] == blind["chosen"]
    )
    assert json.loads(boss.headers["X-Left-Out"]) == {"a tie": 1}
    assert "Zaphod" in str(boss.ask("/export/table")[1]) and boss.ask("/export/passwords")[0] == 404


# Two teams


def guesses(n: int) -> list[dict]:
    """Return rows as the notebook adds them: one answer by the model of each team."""
    return [
        {
            "kind": "pair",
            "source": "guess",
            "overlap": None,
            "prompt": f"Story {i}?",
            "completions": [
                {"text": f"In {i} days all was well.", "model": "sun"},
                {"text": f"In {i} days all was lost.", "model": "moon"},
            ],
        }
        for i in range(n)
    ]


def test_two_teams_of_equal_size_get_opposite_briefs(database, source):
    server = Server(database("class"), source, teams=2)
    briefs = [join(server, f"s{i}").ask("/say", {"type": "ready"})[1]["brief"] for i in range(6)]
    assert sorted(briefs) == sorted([*rounds.BRIEFS.values()] * 3)
    assert sorted(row["team"] for row in server.store.raters()) == ["moon"] * 3 + ["sun"] * 3
    server.close()


def test_whose_is_whose_asks_each_team_for_the_others_answer_and_counts_who_guesses_right(
    database, source
):
    server = Server(database("class"), source, teams=2)
    people, boss = {}, teacher(server)
    for i in range(6):
        browser = join(server, f"s{i}")
        people[browser] = server.store.raters()[-1]["team"]
    server.store.add_tasks(rounds.WHOSE, guesses(5))
    boss.ask("/teach", {"do": "open", "round": rounds.WHOSE})
    for browser, team in people.items():
        for i in range(5):
            task = browser.next()
            assert (
                browser.ask("/say", {"type": "ready"})[1]["progress"]["left"] == 5 - i
            )  # not the goal of 20
            assert (
                task["question"]
                == f"Which answer did Team {'Moon' if team == 'sun' else 'Sun'}'s model write?"
            )
            wanted = "lost" if team == "sun" else "well"
            side = ("left", "right")[wanted in task["answers"][1]["text"]]
            choice = (
                "tie" if i == 0 else side if team == "sun" else "left"
            )  # the other team only clicks on the left
            assert browser.vote(task["task"], {"choice": choice})[0] == 200
    found = shown(boss, server)
    of = {line["team"]: line for line in found["guesses"]}
    assert found["guessing"] and found["board"] == found["agreement"] == [] and of[""]["n"] == 30
    assert of["sun"]["value"] == 0.9 and of["sun"]["low"] <= 0.9 <= of["sun"]["high"]
    left = [
        row
        for row in server.store.answers()
        if row["team"] == "moon" and row["payload"]["choice"] == "left"
    ]
    right = sum(row["answers"][0]["model"] == "sun" for row in left)
    assert of["moon"]["value"] == (3 * 0.5 + right) / 15
    server.close()
