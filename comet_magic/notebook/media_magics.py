"""`%%comet_image` and its kin: flags and a prompt → an order, what was made → namespace; nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ..docstrings import docstring
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..media.order import Order
    from ..media.prompt import Filled
    from .executions import Executions


@magics_class
class MediaMagics(Magics):
    """Everything behind the notebook's edge is imported when it is first used, so that loading is quick."""

    def __init__(self, shell: Any, executions: Executions) -> None:
        super().__init__(shell)
        self._executions = executions

    @no_var_expand
    @cell_magic
    def comet_image(self, line: str, cell: str) -> None:
        """Make a picture of the prompt in the cell; or change one that {{name}} puts into it.

            %%comet_image --size 1024x1024 -o boat
            A paper boat on a lake at dawn

            %%comet_image -o night
            The same as in {{boat}}, but at night

        Flags:
          -m, --model NAME     model; else the setting media_models['image'], else the cheapest of the endpoint's list
          -o, --into NAME      put the picture, a Media, into this variable; with -n, the list of them
          -n N                 number of pictures
          --size WxH           as the model takes it: 1024x1024, 16:9, 2K, auto
          --quality, --format, --background      as the model takes them
          --mask NAME          picture that is transparent where the first one is to change
          --api NAME           images, gemini, replicate or midjourney; else by the model's name
          --set NAME=VALUE     any other parameter of the endpoint's; may be repeated
          --literal            the cell is text: no {{expr}} in it is replaced
          --fresh              make another one, also where the same was made before; one that goes on is waited for
          --dry-run            show what would be sent, and send nothing
          -h, --help           show this

        The picture is put into a file beside the notebook. The same cell shows it from there, at no cost.
        """
        flags = self._flags("%%comet_image", line, self.comet_image)
        if flags is None:
            return
        from ..media.orders import image_order
        from ..settings import CometSettings

        mask = self._value("--mask", flags["mask"]) if "mask" in flags else None
        filled, settings = self._filled("image", cell, flags), CometSettings.instance()
        order = image_order(
            filled, settings, self._parameters(flags, "size", "quality", "output_format", "background"),
            model=flags.get("model"), n=flags.get("n", 1), mask=mask, api=flags.get("api"),
        )  # fmt: skip
        self._order(order, flags, filled.note)

    @no_var_expand
    @cell_magic
    def comet_speech(self, line: str, cell: str) -> None:
        """Speak the text in the cell.

            %%comet_speech --voice nova -o greeting
            Good morning. Here is what has changed since yesterday.

        Flags:
          -m, --model NAME     model; else the setting media_models['speech'], else the cheapest of the endpoint's list
          -o, --into NAME      put the sound, a Media, into this variable
          --voice NAME         voice; else the setting `voice`
          --format NAME        mp3, opus, aac, flac, wav or pcm, which comes as a WAV
          --speed X            0.25 to 4
          --instructions TEXT  how it is to be spoken, where the model takes that
          --set NAME=VALUE     any other parameter of the endpoint's; may be repeated
          --literal            the cell is text: no {{expr}} in it is replaced
          --fresh              speak it anew, also where it was spoken before
          --dry-run            show what would be sent, and send nothing
          -h, --help           show this

        A long text is spoken in several requests, and joined to one sound.
        """
        flags = self._flags("%%comet_speech", line, self.comet_speech)
        if flags is None:
            return
        from ..media.orders import speech_order
        from ..settings import CometSettings

        parameters = self._parameters(flags, "response_format", "speed", "instructions")
        filled, settings = self._filled("speech", cell, flags), CometSettings.instance()
        order = speech_order(filled, settings, parameters, model=flags.get("model"), voice=flags.get("voice"))
        self._order(order, flags, filled.note)

    @line_magic
    @no_var_expand
    def comet_transcribe(self, line: str) -> None:
        """Write down what is said in a file of sound or film.

            %comet_transcribe interview.mp3 -o words
            %comet_transcribe {{recording}} --segments -o table

        Flags:
          -m, --model NAME     model; else media_models['transcript'], else the cheapest of the endpoint's list
          -o, --into NAME      put the text into this variable; the table, or the file of subtitles
          --segments           a table with start, end and text
          --format FORMAT      srt or vtt: subtitles, in a file
          --translate          into English
          --language CODE      language of the recording: de, fr, ja
          --prompt TEXT        names and words that occur in it
          --set NAME=VALUE     any other parameter of the endpoint's; may be repeated
          --fresh              ask again, also where it was written down before
          --dry-run            show what would be sent, and send nothing
          -h, --help           show this
        """
        flags = self._flags("%comet_transcribe", line, self.comet_transcribe)
        if flags is None:
            return
        from ..media.orders import transcript_order

        file = flags.get("file")
        if not file:
            raise ConfigError("%comet_transcribe needs a file", "nothing was sent; %comet_transcribe interview.mp3")
        audio: Any = file
        if file.startswith("{{") and file.endswith("}}"):
            audio = self._value(file, file[2:-2])
        elif file.isidentifier() and file in self.shell.user_ns:
            raise ConfigError(f"{file} is a variable here, and no file", f"%comet_transcribe {{{{{file}}}}} takes it")
        order = transcript_order(
            audio, self._parameters(flags, "language"), model=flags.get("model"), prompt=flags.get("prompt"),
            segments=bool(flags.get("segments")), format=flags.get("format"), translate=bool(flags.get("translate")),
        )  # fmt: skip
        self._order(order, flags)

    @no_var_expand
    @cell_magic
    def comet_music(self, line: str, cell: str) -> None:
        """Have a song made of the description in the cell; it takes minutes, and goes on without the notebook.

            %%comet_music --title "Morning" -o songs
            A calm piano piece with birds

        Flags:
          -m, --model NAME     model; else the setting media_models['music'], else the cheapest of the endpoint's list
          -o, --into NAME      put the songs, a list of Media, into this variable
          --lyrics TEXT        words that are sung; the cell is the style then
          --title TEXT         title of the song
          --tags TEXT          its style in a few words
          --instrumental       without a voice
          --set NAME=VALUE     any other parameter of the endpoint's; may be repeated
          --literal            the cell is text: no {{expr}} in it is replaced
          --fresh              order it anew, also where the same was ordered before
          --dry-run            show what would be sent, and send nothing
          -h, --help           show this

        It is ordered once. An interrupt ends the wait, not the job: the same cell goes on waiting.
        """
        flags = self._flags("%%comet_music", line, self.comet_music)
        if flags is None:
            return
        from ..media.orders import music_order

        filled = self._filled("music", cell, flags)
        order = music_order(
            filled, self._parameters(flags, "lyrics", "title", "tags"),
            model=flags.get("model"), instrumental=bool(flags.get("instrumental")),
        )  # fmt: skip
        self._order(order, flags, filled.note)

    @no_var_expand
    @cell_magic
    def comet_video(self, line: str, cell: str) -> None:
        """Have a film made of the prompt in the cell; it takes minutes, and goes on without the notebook.

            %%comet_video --seconds 5 --size 16:9 -o film
            A paper boat drifts over a lake

        Flags:
          -m, --model NAME     model; else the setting media_models['video'], else the cheapest of the endpoint's list
          -o, --into NAME      put the film, a Media, into this variable
          --seconds N          its length, as the model takes it
          --size SIZE          16:9, 1280x720, as the model takes it
          --api NAME           videos, kling or veo; else by the model's name
          --set NAME=VALUE     any other parameter of the endpoint's; may be repeated
          --literal            the cell is text: no {{expr}} in it is replaced
          --fresh              order it anew, also where the same was ordered before
          --dry-run            show what would be sent, and send nothing
          -h, --help           show this

        {{picture}} in the prompt is the first picture of the film, where the model takes one. It is ordered once. An
        interrupt ends the wait, not the job: the same cell goes on waiting.
        """
        flags = self._flags("%%comet_video", line, self.comet_video)
        if flags is None:
            return
        from ..media.orders import video_order
        from ..settings import CometSettings

        filled, settings = self._filled("video", cell, flags), CometSettings.instance()
        parameters = self._parameters(flags, "seconds", "size")
        order = video_order(filled, settings, parameters, model=flags.get("model"), api=flags.get("api"))
        self._order(order, flags, filled.note)

    @line_magic
    def comet_jobs(self, line: str) -> object:
        """List the orders for pictures, sound and film: those that go on, and the latest others.

        %comet_jobs --all            all of them, up to 500
        %comet_jobs --drop ID        give up one that goes on; it may be billed all the same
        """
        from .jobs_table import dropped, jobs_table
        from .media_flags import jobs_parser

        flags = jobs_parser().flags_of(line)
        if flags.help:
            print(docstring(self.comet_jobs))
            return None
        if flags.drop:
            print(dropped(flags.drop))
            return None
        return jobs_table(is_all=flags.all)

    @line_magic
    def comet_resume(self, line: str) -> None:
        """Wait for a job that was ordered before, also by another kernel, and show what comes of it.

            %comet_resume 1a2b3c4d
            %comet_resume 1a2b3c4d -o film

        %comet_jobs lists the jobs with their ids. Nothing is ordered.
        """
        from .media_cells import resumed
        from .media_flags import resume_parser

        flags = resume_parser().flags_of(line)
        if flags.help:
            print(docstring(self.comet_resume))
            return
        if not flags.job:
            raise ConfigError("%comet_resume needs the id of a job", "%comet_jobs lists them")
        value = resumed(flags.job, shows_media=True)
        if flags.into:
            self.shell.user_ns[flags.into] = value

    # ---- what they share

    def _flags(self, magic: str, line: str, method: Any) -> dict[str, Any] | None:
        """Return the flags that were given; None where help was asked for, which is shown."""
        from .media_flags import media_flags

        flags = media_flags(magic, line)
        if flags.pop("help", False):
            print(f"{docstring(method)}\n\nNothing was sent.")
            return None
        return flags

    def _value(self, flag: str, expression: str) -> Any:
        """Return what an expression on a line is worth. Raises: ConfigError, naming the nearest."""
        from .named import named

        return named(flag, expression, self._scope(), "it takes the name of a variable")

    def _filled(self, kind: str, cell: str, flags: dict[str, Any]) -> Filled:
        """Return the prompt of a cell, filled in."""
        from ..media.prompt import fill_prompt
        from ..settings import CometSettings
        from .cell import as_typed

        prompt = as_typed(self.shell, cell)
        scope = self._scope() if "{{" in prompt and not flags.get("literal") else None
        return fill_prompt(kind, prompt, scope, CometSettings.instance())

    def _scope(self) -> dict[str, Any]:
        from .cell import local_names

        return {**self._executions.names(), **self.shell.user_ns, **local_names(self.shell)}

    @staticmethod
    def _parameters(flags: dict[str, Any], *names: str) -> dict[str, Any]:
        """Return the endpoint's parameters among the flags: those of these names, and those of `--set`."""
        return {**{name: flags[name] for name in names if name in flags}, **flags["set"]}

    def _order(self, order: Order, flags: dict[str, Any], note: str = "") -> None:
        from .display import show
        from .media_cells import order_shown

        is_dry = bool(flags.get("dry_run"))
        value = order_shown(order, is_fresh=bool(flags.get("fresh")), is_dry=is_dry, shows_media=True, note=note)
        if is_dry:
            show(self.shell, value)
        elif into := flags.get("into"):
            self.shell.user_ns[into] = value
