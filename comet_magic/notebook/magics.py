"""`%%claude` and its line magics: flags → Request, Message → namespace; nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ..docstrings import docstring
from ..errors import ConfigError
from ..settings import CometSettings
from .executions import Executions

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ..describe.question import Question
    from ..exchange.cells import Cell
    from ..exchange.plan import Options
    from ..messages.message import Message
    from .next_cell import Replaced
    from .stale_notes import StaleNotes


def _approve(name: str, arguments: Mapping[str, str], can_be_always: bool, others: Sequence[Any] = ()) -> str:
    from .stdin import approve  # not at the top: few cells have tools

    return approve(name, arguments, can_be_always, others)


@magics_class
class CometMagics(Magics):
    """Everything behind the notebook's edge is imported when it is first used, so that loading is quick."""

    def __init__(self, shell: InteractiveShell, settings: CometSettings) -> None:
        super().__init__(shell)
        self.settings = settings
        self.offered: list[str] = []  # models that the endpoint has named, for Tab
        self.executions = Executions(shell)
        self._stale_notes: StaleNotes | None = None

    @property
    def stale_notes(self) -> StaleNotes:
        from .stale_notes import StaleNotes

        self._stale_notes = self._stale_notes or StaleNotes()
        return self._stale_notes

    @no_var_expand
    @cell_magic("claude")
    def claude_cell(self, line: str, cell: str) -> None:
        """Send the cell to Claude; show the reply, and what it cost.

            %%claude -m opus -t 500
            What is the difference between a list and a tuple?

        Flags, each for this cell alone:
          -m, --model NAME      model or alias (opus, sonnet, haiku, and your own); several with commas between
          -t, --max-tokens N    most tokens in the reply
          -s, --system TEXT     system prompt
          --temperature X       0 to 1; current models refuse it
          --stop TEXT           stop where the reply says TEXT; may be repeated
          --effort LEVEL        low, medium, high, xhigh or max
          --think HOW           off, adaptive, or a budget in tokens
          -o, --into NAME       put the reply, a Message, into this variable; with --as, its value
          --as TYPE             make it a value: int, 'list[str]', DataFrame, a dataclass, a JSON Schema
          --tools F,G           functions, or tools of a library or a server; you are asked before each call
          --rows TABLE          ask once for each of its rows; the prompt names {{row.column}}
          --column NAME         of the replies, with --rows       --limit N      the first N rows only
          --samples N           ask so often for each row         --workers N    most requests at once
          --nulls send          send rows with missing values     --budget USD   what all may cost together
          --batch               in Message Batches, half price    --yes          do not ask whether to go on
          --literal             the cell is text: no {{expr}} in it is replaced
          --code                put its Python into a new cell below, not run
          -c, --chat NAME       in this conversation; else in the notebook's own
          --alone               without any conversation
          --new                 begin the conversation anew; the old one stays in the store
          --fresh               ask again, also where the store has the reply
          --dry-run             show what would be sent, and send nothing
          -h, --help            show this, and send nothing

        The text below the line is sent, after the earlier turns of the conversation. {{expr}} is replaced by the value
        of the Python expression: {{df}} by a card of the table, {{fig}} by a picture, {{error}} by the last exception,
        {{cells[-3:]}} by the last cells. Write \\{{ for braces that are text. Nothing else is sent.
        Prices are estimates, marked ≈. Settings: %config CometSettings
        """
        from .flags import ONLY_WITH_ROWS, parse_flags

        flags = parse_flags(line)
        if flags.pop("help"):
            print(f"{docstring(self.claude_cell)}\n\nNothing was sent.")
            return
        from .cell import as_typed

        if flags["rows"]:
            from .row_runs import ask_rows

            ask_rows(self.shell, as_typed(self.shell, cell), flags, self.executions.names())
            return
        into = flags.pop("into")
        for name in ("rows", *ONLY_WITH_ROWS):
            del flags[name]
        message = self._answer(as_typed(self.shell, cell), **flags)
        if into and message:
            self.shell.user_ns[into] = message.value if message.as_type else message

    @no_var_expand
    @line_magic("claude")
    def claude_line(self, line: str) -> None:
        """Ask in a line: `%claude what is in {{df}}?` sends the rest of it. Flags need a `%%claude` cell.

        All commands (%claude_help shows them as a table, and %%claude? the flags):
          %%claude           ask in a cell               %claude_usage      what was spent
          %claude            ask in a line               %claude_forecast   what Run All would ask again
          %claude_fix        repair the failed cell      %claude_panel      the settings
          %claude_continue   finish a reply              %claude_keep       save them for all notebooks
          %claude_choose     take another reply          %claude_reset      set them back
          %claude_history    the conversations           %claude_key        enter a key
          %claude_models     the models                  %claude_forget     see and delete what is kept
          %claude_test       check endpoint and key      %claude_help       this list
          %%comet_image      make a picture              %%comet_speech     speak a text
          %%comet_music      have a song made            %comet_transcribe  write down what is said
          %%comet_video      have a film made            %comet_jobs        those that go on; %comet_resume ID
        """
        from .flags import refuse_flags

        refuse_flags(line)
        self._answer(line)

    @line_magic
    def claude_help(self, line: str) -> object:
        """List the commands, each with a line on what it does."""
        from ..render.table import Table

        rows = [(name, text.split("\n")[0]) for name, text in commands().items()]
        notes = ["`%%claude?` and the like show all of one command."]
        return Table("", ("command", "what it does"), rows, notes)

    @no_var_expand
    @line_magic
    def claude_continue(self, line: str) -> None:
        """Finish the latest reply that was cut off or stopped; `%claude_continue -c NAME`: in that conversation."""
        from ..describe.question import as_before
        from ..exchange.plan import Options
        from .history_magic import continue_command
        from .history_table import to_continue

        cell = self._cell(continue_command(self.settings, line))
        part = to_continue(self.settings, cell.conversation)
        if part is None:  # as when a notebook is run again, whose replies are whole by then
            print(f"there is no unfinished reply in {cell.conversation}; %claude_history shows its turns")
            return
        cell = cell._replace(execution=part.execution)
        self._ask(as_before(part.question, self.settings), Options(new=part.is_new, continues=part), cell)

    @no_var_expand
    @line_magic
    def claude_fix(self, line: str) -> None:
        """Explain and correct the cell that failed last; `%claude_fix HINT` adds what you know.

            %claude_fix the column may have another name
            %claude_fix --cell 5                only if the cell with the number [5] is the one that failed last
            %claude_fix --dry-run               shows what would be sent

        It sends the cell, what it printed, its traceback (frames of your own code, and the cells that they are of),
        cards of the variables that the cell uses, similar names, and the versions of the libraries. It is a turn of the
        notebook's conversation, so you can ask why. The corrected cell is put below and is not run; its first comment
        names the cell that it replaces.
        """
        from ..describe.question import limits_of
        from ..exchange.plan import Options
        from .display import show
        from .fix import FixLine, fix_question, replacement
        from .next_cell import one_block

        if line.strip() in ("-h", "--help"):
            print(docstring(self.claude_fix))
            return
        options = FixLine.of(line)
        failed = self.executions.failure
        if failed is None:
            print("nothing to fix: no cell of your own code has failed, or it has run well since")
            return
        if options.cell not in (None, failed.number):
            print(f"only the latest failure is known, and cell [{options.cell}] is another one: run that cell again")
            return
        question = fix_question(
            failed, options.hint, self.settings, self.shell.user_ns, self.executions, self.shell.transform_cell
        )
        cell = self._cell(None)
        reply = self._ask(question, Options(dry_run=options.dry_run), cell)
        if reply and (code := one_block(reply)):
            replaced = replacement(code, failed, self.executions, limits_of(self.settings).hide)
            if replaced.diff:
                show(self.shell, replaced)
            self._insert_next_cell(cell, reply, replaced.code, replaces=replaced.former)

    def _answer(
        self, prompt: str, *, chat: str | None = None, alone: bool = False, new: bool = False, fresh: bool = False,
        dry_run: bool = False, as_type: str | None = None, tools: str | None = None, code: bool = False,
        literal: bool = False, **flags: Any,
    ) -> Message | None:  # fmt: skip
        """Ask what a cell or a line says. Returns: the reply; None for a dry run."""
        from ..describe.question import braces_note, question
        from ..exchange.plan import Options
        from .cell import local_names

        if tools and "," in str(flags.get("model") or ""):
            raise ConfigError(
                "--tools cannot go with several models", "nothing was sent; name one model, or leave it out"
            )
        names, namespace = self.executions.names(), None
        if "{{" in prompt and not literal:
            namespace = {**names, **self.shell.user_ns, **local_names(self.shell)}
        context = {"notebook": names["notebook"]} if self.settings.context == "notebook" else {}
        filled = question(prompt, self.settings, namespace, self.executions.name_of, context=context)
        if "{" in prompt and not literal:
            filled = filled.with_note(braces_note(prompt, self.shell.user_ns))
        options = Options(flags, new, fresh, dry_run, cell_name=self.executions.name_of, makes_cell=code)
        if as_type:
            from .named import output_type_named

            options = options._replace(output=output_type_named(as_type, self.shell.user_ns))
        if tools:
            from .named import tools_named

            named = tools_named(tools, self.shell.user_ns, filled.tables, self.settings.tool_timeout_s)
            options = options._replace(tools=named)
        cell = self._cell(chat, alone=alone)
        reply = self._ask(filled, options, cell)
        if code and reply:
            from .next_cell import one_block

            self._insert_next_cell(cell, reply, one_block(reply), again=fresh)
        return reply

    def _cell(self, chat: str | None, *, alone: bool = False) -> Cell:
        from ..exchange.session import current
        from .cell import current_cell

        return current_cell("" if alone else chat or current().conversation_name(self.settings))

    def _ask(self, question: Question, options: Options, cell: Cell) -> Message | None:
        """Plan, run, paint and write down. Returns: the reply; None for a dry run, which is shown in its place."""
        from ..exchange.plan import make_plan
        from ..exchange.session import current
        from .flags import models_named

        session = current()
        models = models_named(options.flags)
        if len(models) > 1 and not all(models):
            raise ConfigError(f"-m {','.join(models)} has a comma too many", "nothing was sent; write -m opus,luna")
        if len(models) > 1:
            return self._ask_several(question, options, cell, models)
        plan = make_plan(question, options, cell, self.settings, session)
        if session.comparison and session.comparison.turn.plan.position.key == plan.position.key:
            session.comparison = None  # its cell asks one model now
        if options.dry_run:
            from ..exchange.dry_run import DryRun
            from .display import show

            show(self.shell, DryRun.of(plan))
            return None
        from ..exchange.journal import Journal
        from ..exchange.run import run
        from .display import LiveDisplay, brief_interrupt, screen_for

        screen = screen_for(self.shell, plan)
        live = LiveDisplay(screen)
        with brief_interrupt(), Journal(session, plan) as journal:
            reply = live.show(run(plan, journal, session, announce=live.note, approve=screen.asking(_approve)))
        conversation = plan.position.cell.conversation
        self.stale_notes.keep(conversation, plan.position.key, screen, reply)
        self.stale_notes.mend(plan.store, conversation)
        return reply

    def _ask_several(self, question: Question, options: Options, cell: Cell, models: list[str]) -> Message | None:
        """Ask several models at once, and show their replies side by side. Returns: the one that is the turn."""
        from ..exchange.plan import make_plan
        from ..exchange.session import current
        from ..exchange.several import ask_several, plans_for
        from .display import brief_interrupt, show
        from .side_by_side import side_by_side_for

        session = current()
        options = options._replace(flags={**options.flags, "model": models[0]})
        plan = make_plan(question, options, cell, self.settings, session)
        plans = plans_for(models, plan, self.settings, session)
        if options.dry_run:
            from ..exchange.dry_run import DryRun

            for one in plans:
                show(self.shell, DryRun.of(one))
            return None
        screen = side_by_side_for(self.shell, plan)
        with brief_interrupt():
            return screen.show(ask_several(plans, session)).message

    @line_magic
    def claude_choose(self, line: str) -> None:
        """Make another reply of several models the turn that later cells see: `%claude_choose 2`.

        It is about the cell that asked several models last. Run that cell first where it was another one.
        """
        from ..exchange.session import current
        from ..exchange.several import choose

        if not line.strip().isdigit():
            raise ConfigError(f"%claude_choose takes the number of a reply, not {line.strip()!r}", "%claude_choose 2")
        print(choose(current(), int(line)))

    def _insert_next_cell(
        self, cell: Cell, reply: Message, code: str, *, again: bool = False, replaces: Replaced | None = None
    ) -> None:
        from ..exchange.session import current
        from .display import show
        from .next_cell import Replaced, insert_next_cell

        store, replaced = current().store(self.settings), replaces or Replaced()
        show(self.shell, insert_next_cell(self.shell, store, cell, reply, code, again=again, replaces=replaced))

    @no_var_expand
    @line_magic
    def claude_history(self, line: str) -> object:
        """Show the turns of this notebook's conversation; with flags, of another one, or do something with it.

            %claude_history                     the turns: cell, question, tokens, cost, and whether they still stand
            %claude_history -c NAME             of that conversation
            %claude_history --all               all conversations
            %claude_history --forget 3          remove turn 3, and every reply to its cell
            %claude_history --fork NAME         a copy that goes its own way; %%claude -c NAME
            %claude_history --rename NAME
            %claude_history --delete
            %claude_history --export FILE       .md to read it, .jsonl for another notebook,
                                                .json for Open WebUI, LibreChat and Cherry Studio
            %claude_history --export FILE --overwrite
            %claude_history --import FILE -c NAME
                                                a .jsonl or .json, or an export of ChatGPT, claude.ai, Open WebUI or
                                                LibreChat; lists what is in it where there are several conversations
            %claude_history --import FILE --pick 3 -c NAME
                                                one of several: a number, a title, or all
            %claude_history --prune 90d         remove what is older, of all conversations

        The same in Python: comet_magic.conversations
        """
        from .history_magic import history_command

        here = self._cell(None).conversation
        help_text = docstring(self.claude_history)
        return history_command(self.settings, line, here, help_text, self.shell.user_ns)

    @no_var_expand
    @line_magic
    def claude_forecast(self, line: str) -> object:
        """Tell which questions Restart & Run All would ask again, why, and what they cost the last time.

        It reads the notebook as it was saved last, and the store. It runs nothing and sends nothing: what a question
        refers to is looked up in this kernel, where that is a name, an attribute or an item; else it is taken to be
        what it was. `ask(…)` in your code is not looked at.
        """
        from .forecast import forecast_table

        return forecast_table(self.settings, self.shell.user_ns)

    @no_var_expand
    @line_magic
    def claude_usage(self, line: str) -> object:
        """Show what this session has used and cost, by model, conversation and day; `%claude_usage --all`: all time."""
        from .flags import has_flag
        from .usage_report import usage

        if line.strip() in ("-h", "--help"):
            print(docstring(self.claude_usage))
            return None
        return usage(self.settings, all_time=has_flag("%claude_usage", line))

    @line_magic
    def claude_key(self, line: str) -> None:
        """Enter your API key: it is hidden while you type, used in this session, and saved if you say so."""
        if line.strip():
            raise ConfigError(
                "a key does not go on the line: the notebook and IPython's history keep it there",
                "delete this cell, think of replacing the key, and run %claude_key alone",
            )
        from .stdin import ask_for_key

        print(ask_for_key(self.settings))

    @line_magic
    def claude_models(self, line: str) -> object:
        """List the models that the endpoint offers; `%claude_models gemini image`: only lines with all these words.

        Each with its alias, its kind (chat, image, speech, …), the API in which it is asked (messages, chat or
        responses), its context in tokens, its price, and the day on which it is shut down, as far as the list says so.
        """
        from .models_table import models_table

        self.offered, table = models_table(self.settings, line, print)
        return table

    @line_magic
    def claude_panel(self, line: str) -> None:
        """Show the settings as a panel of widgets or, without them, as a table with the line that changes each."""
        if not hasattr(self.shell, "kernel"):
            from .settings_table import key_status, plain_table, settings_table

            print(plain_table(settings_table(self.settings, key_status(self.settings))))
            return
        from .panel import panel

        panel()._ipython_display_()

    @line_magic
    def claude_test(self, line: str) -> None:
        """Check, free of charge, that the endpoint answers, accepts the key and offers the model."""
        from ..api.client import check
        from .usage_report import gateway_note

        print(check(self.settings, print))
        if note := gateway_note(self.settings):
            print(note)

    @line_magic
    def claude_keep(self, line: str) -> None:
        """Save the settings for all notebooks; `%claude_keep --undo` removes what was saved."""
        from .flags import has_flag
        from .profile import keep, undo

        act = undo if has_flag("%claude_keep", line) else keep
        print(act(self.settings, Path(self.shell.profile_dir.location)))

    @line_magic
    def claude_forget(self, line: str) -> object:
        """List what is kept on this computer; `%claude_forget --everything` deletes it, after asking you."""
        from .flags import has_flag
        from .forget import forget

        everything = has_flag("%claude_forget", line, "; for one turn: %claude_history --forget N")
        return forget(self.settings, Path(self.shell.profile_dir.location), everything=everything)

    @line_magic
    def claude_reset(self, line: str) -> None:
        """Set the settings back to what you have saved with `%claude_keep`, or else to the package's defaults."""
        from .profile import reset

        if line.strip():
            raise ConfigError("%claude_reset takes no flags: it sets all settings back", "nothing was changed")
        print(reset(self.settings))


def commands() -> dict[str, str]:
    """Return the docstring of each magic, by its name with its percent signs."""
    from .media_magics import MediaMagics  # it needs this module

    own: dict[str, str] = {}
    for kind in (CometMagics, MediaMagics):
        for sign, of in (("%%", "cell"), ("%", "line")):  # of each, names and the methods' names
            own |= {f"{sign}{name}": docstring(getattr(kind, method)) for name, method in kind.magics[of].items()}
    return dict(sorted(own.items()))
