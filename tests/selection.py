"""Which tests are slow, and which wait for seconds. `conftest.py` marks them; `make quick` leaves both out."""

from __future__ import annotations

SLOW_FOLDERS = {"browser", "kernel", "model"}
SLOW_FILES = {
    *("test_readme.py", "test_sql.py", "test_database.py", "test_conversation.py", "test_tables.py", "test_cards.py"),
    *("test_turns.py", "test_panel.py", "test_fix.py", "test_registry.py"),
}
# What starts a process of its own, or draws many examples.
SLOW_WORDS = (
    "Kernel(",
    "subprocess.",
    "@given",
    "rendered(",
    "Executor(",
    "to_image",
    "RecursionError",
    "recurse",
    "Timeout",
    "killed(",
    "loaded(",
)
# What waits or measures for seconds, on any machine. `make quick` leaves it out, and `make matrix` does not.
SECONDS_FILES = {
    *("test_batches.py", "test_docs.py", "test_exits.py", "test_faults.py", "test_mapping.py", "test_queues.py"),
    *("test_run_all.py", "test_server_tools.py", "test_vscode.py"),
}
SECONDS_TESTS = {
    *("test_32_an_unchunked_stream_is_not_held_back", "test_62_only_pings", "test_63_silence"),
    *("test_a_hostile_prompt_takes_no_time", "test_a_reply_cannot_make_a_check_take_for_ever"),
    *("test_a_reply_is_read_only_a_little_ahead", "test_a_request_given_up_before_it_is_sent_is_not_sent"),
    *("test_a_schema_that_would_take_for_ever_is_refused", "test_a_small_body_that_becomes_a_large_one_is_ended"),
    *("test_a_tool_that_never_returns", "test_e6_a_busy_endpoint_between_batches_sends_none_twice"),
    *("test_failures_do_not_keep_what_their_frames_hold", "test_i7_silence_is_waited_out"),
    *("test_long_lines_of_one_character_take_no_time", "test_overloaded_before_any_words_is_asked_once_more"),
    *("test_the_deadline_is_for_all_tries_and_waits", "test_they_are_asked_at_once_and_an_interrupt_keeps_what_came"),
    *("test_two_that_ask_at_once_see_one_another", "test_what_is_in_flight_in_another_store_counts"),
    "test_without_docstrings_there_is_help_and_tools_are_described",
}
