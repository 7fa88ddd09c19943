"""`plan --digest D`: a plan as it was made once, in every format, without a call."""


def test_a_kept_plan_is_shown_as_it_was_although_it_was_posted_since(office):
    before = {"json": office.run("plan", "--json").must(0)}
    digest = before["json"].json["digest"]
    before |= {name: office.run("plan", "--format", name).must(0) for name in ("text", "csv")}
    before["lines"] = office.run("plan", "--lines").must(0)
    office.run("run", "--yes").must(0)
    office.sandbox.calls.clear()
    kept = {
        name: office.run("plan", "--digest", digest[:8], "--format", name).must(0) for name in ("json", "text", "csv")
    }
    kept["lines"] = office.run("plan", "--digest", digest, "--lines").must(0)
    assert kept["json"].json == before["json"].json
    assert {name: kept[name].stdout for name in ("text", "csv", "lines")} == {
        name: before[name].stdout for name in ("text", "csv", "lines")
    }
    office.run("plan", "--digest", digest, "--out", "plan.html").must(0)
    assert "<html" in (office.folder / "plan.html").read_text(encoding="utf-8")
    assert office.sandbox.calls == []


def test_a_kept_plan_stands_alone(office):
    digest = office.plan()["digest"]
    for words in (["2026-11"], ["--client", "Contoso Ltd"], ["--replan"], ["--compare", digest]):
        refused = office.run("plan", "--digest", digest, *words, "--json").must(2)
        assert refused.json["error"]["next_steps"] == [["billingsync", "plan", "--digest", digest]]
    assert "No plan's digest begins with" in office.run("plan", "--digest", "000000").must(2).stderr


def test_a_file_whose_ending_says_no_format_is_not_written(office):
    for words in (["plan"], ["reconcile", "findings"], ["renewals"]):
        refused = office.run(*words, "--out", "month.pdf").must(2)
        assert ".txt, .json, .csv, .html, .htm, .xlsx, .md" in refused.stderr
        assert not (office.folder / "month.pdf").exists()
    assert office.sandbox.calls == []
    office.run("plan", "--format", "html", "--out", "month.pdf").must(0)  # who says which, is heard
    assert "<html" in (office.folder / "month.pdf").read_text(encoding="utf-8")
