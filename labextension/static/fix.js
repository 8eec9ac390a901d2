/*
 * A code cell that a reply made is replaced if it is unedited, and a cell that failed has a Fix button.
 * Outputs and cells are marked for that in their metadata, under "comet_magic"; comet_magic/notebook/next_cell.py writes
 * what the kernel says of code that it put into a cell.
 */
const NAME = "comet_magic";
let PROMPT; // what the source of a prompt begins with

const activate = (notebook, index) => {
  notebook.activeCellIndex = index;
  notebook.activate();
};
const sourceOf = (cell) => cell.model.sharedModel.getSource().trim();
const marksOf = (cell) => cell?.model.getMetadata(NAME) ?? {};
const outputsOf = ({ model }) => Array.from({ length: model.outputs?.length ?? 0 }, (_, at) => model.outputs.get(at));
const OURS = /^\s*(?:[\w, ]+=\s*)?%claude/m; // whose errors are no failures of the user's code
const isFailed = (cell) =>
  !PROMPT.test(sourceOf(cell)) && !OURS.test(sourceOf(cell)) && outputsOf(cell).some(({ type }) => type === "error");

const idOf = ({ model }) => model.id;
const isFree = (cell) => cell.model.getMetadata("deletable") !== false && cell.model.getMetadata("editable") !== false;
const isWaiting = (cell) => cell.inputArea?.promptNode?.textContent.includes("*"); // to be run, or running

/** Mark the code cell that a reply has just made; delete the one that it made before, if that is as it was. */
const markCodeCell = (notebook, asker) => {
  const { widgets, model, activeCell } = notebook;
  const said = outputsOf(asker).find(({ metadata }) => metadata?.[NAME]?.code)?.metadata[NAME];
  const at = widgets.indexOf(asker) + 1;
  const [made, former] = widgets.slice(at);
  if (!said || !made || sourceOf(made) !== said.code || marksOf(made).asker) return;
  const isOld = marksOf(former).asker === idOf(asker) && marksOf(former).code === sourceOf(former);
  const goes = isOld && isFree(former) && !isWaiting(former);
  model.sharedModel.transact(() => {
    made.model.setMetadata(NAME, { ...said, asker: idOf(asker) });
    if (goes) model.sharedModel.deleteCell(at + 1);
  });
  if (goes && activeCell === former) activate(notebook, at);
};

/** Return the cell that has the corrected code of a failed one. */
const correctionOf = ({ widgets }, failed) => {
  const askers = widgets.filter((cell) => marksOf(cell).fixes === idOf(failed)).map(idOf);
  return widgets.find((one) => {
    const { replaces, cell, asker } = marksOf(one);
    return replaces && one !== failed && (cell === idOf(failed) || askers.includes(asker));
  });
};
const isToFix = (notebook, cell) => cell && !cell.isDisposed && (isFailed(cell) || correctionOf(notebook, cell));

/** Put corrected code into the cell that it is for. Returns: whether that was as it was. */
const replace = (notebook, corrected) => {
  const { replaces, cell: id } = marksOf(corrected);
  const cell = notebook.widgets.find((one) => idOf(one) === id && sourceOf(one) === replaces);
  const code = sourceOf(corrected).replace(/^# replaces:.*\n/m, "");
  if (!cell || !isFree(cell) || !code.trim()) return false;
  const { sharedModel } = notebook.model;
  sharedModel.transact(() => {
    cell.model.sharedModel.setSource(code);
    sharedModel.deleteCell(notebook.widgets.indexOf(corrected));
  });
  cell.model.clearExecution();
  activate(notebook, notebook.widgets.indexOf(cell));
  return true;
};

/** Ask the kernel: "failed", "ran", or "unknown"; undefined without the extension. Numbers outlive kernels. */
const stateOf = async ({ session }, { model }) => {
  const magics = "get_ipython().magics_manager.registry['CometMagics']";
  const asked = `${JSON.stringify(model.id)}, ${Number(model.executionCount) || 0}`; // a file may have any id
  const user_expressions = { is: `${magics}.executions.state_of(${asked})` };
  const reply = await session?.kernel?.requestExecute({ code: "", silent: true, user_expressions }).done;
  return reply?.content.user_expressions?.is?.data?.["text/plain"].slice(1, -1);
};

/** Run %claude_fix below a failed cell; in the same cell as before, if that is still such a line. */
const askForFix = async ({ content: notebook, sessionContext }, { model }, run) => {
  const line = `%claude_fix --cell ${model.executionCount}`;
  const at = notebook.widgets.findIndex((cell) => cell.model === model) + 1;
  const below = notebook.widgets[at];
  const isOurs = below?.model.type === "code" && marksOf(below).fixes === model.id;
  if (isOurs && /^%claude_fix --cell \d+/.test(sourceOf(below))) {
    below.model.sharedModel.setSource(sourceOf(below).replace(/^%claude_fix --cell \d+/, line));
  } else {
    const metadata = { [NAME]: { fixes: model.id } };
    notebook.model.sharedModel.insertCell(at, { cell_type: "code", source: line, metadata });
  }
  const asker = notebook.widgets[at];
  await run(notebook, [asker], sessionContext);
  asker.node.scrollIntoView({ block: "nearest" });
};

/** Begin a prompt about the active cell, below it. */
const askAbout = async ({ content: notebook, sessionContext }) => {
  const cell = notebook.activeCell;
  const isKnown = ["failed", "ran"].includes(await stateOf(sessionContext, cell));
  const about = isKnown ? `{{cells[${cell.model.executionCount}]}}` : sourceOf(cell).replaceAll("{{", "\\{{");
  const at = notebook.activeCellIndex + 1;
  notebook.model.sharedModel.insertCell(at, { cell_type: "code", source: `%%claude\n\n${about}` });
  notebook.activeCellIndex = at;
  await notebook.activeCell.ready;
  await new Promise((done) => setTimeout(done, 100)); // the palette gives the focus back
  notebook.mode = "edit";
  notebook.activeCell.editor.setCursorPosition({ line: 1, column: 0 });
  notebook.activeCell.editor.focus();
};

export default async (shared, prompt) => {
  PROMPT = prompt;
  const names = ["@jupyterlab/notebook", "@jupyterlab/apputils"];
  const [{ INotebookTracker, NotebookActions }, { ICommandPalette, Notification }] = await shared(...names);
  const start = ({ commands }, tracker, palette) => {
    const lastFailed = new WeakMap(); // by notebook
    let isAsking = false;
    const here = () => tracker.currentWidget?.content;
    const say = (text) => void Notification.info(text, { autoClose: 8000 });
    const refresh = () => commands.notifyCommandChanged(`${NAME}:fix-button`);
    const fix = async () => {
      const [panel, notebook] = [tracker.currentWidget, here()];
      const candidates = notebook ? [notebook.activeCell, lastFailed.get(notebook)] : [];
      const cell = candidates.find((one) => isToFix(notebook, one));
      if (!cell) return say("No cell has failed.");
      const corrected = correctionOf(notebook, cell);
      if (corrected) {
        if (!replace(notebook, corrected)) say("That cell has changed since: nothing was replaced.");
        return refresh();
      }
      if (isAsking) return;
      isAsking = true;
      try {
        if (panel.sessionContext.session?.kernel?.status === "busy") say("The kernel is busy; the fix starts when it is free.");
        const state = await stateOf(panel.sessionContext, cell);
        if (!state) return say("comet_magic is not loaded here: run %load_ext comet_magic, then the cell again.");
        if (state !== "failed") return say("This kernel knows only its latest failure: run the cell again.");
        await askForFix(panel, cell, NotebookActions.runCells);
      } catch (error) {
        say(String(error));
      } finally {
        isAsking = false;
        refresh();
      }
    };
    commands.addCommand(`${NAME}:fix`, { label: "Fix this cell", execute: fix });
    commands.addCommand(`${NAME}:fix-button`, {
      label: () => (here()?.activeCell && correctionOf(here(), here().activeCell) ? "Replace" : "Fix"),
      caption: "Explain and correct it, then replace it",
      isVisible: () => !!isToFix(here(), here()?.activeCell),
      execute: fix,
    });
    const ask = () => here()?.activeCell && askAbout(tracker.currentWidget);
    commands.addCommand(`${NAME}:ask`, { label: "Ask about this cell", execute: ask });
    for (const name of ["fix", "ask"]) palette?.addItem({ command: `${NAME}:${name}`, category: "Notebook Cell Operations" });
    NotebookActions.executed.connect((_, { notebook, cell }) => {
      if (isFailed(cell)) lastFailed.set(notebook, cell);
      markCodeCell(notebook, cell);
      refresh();
    });
    tracker.activeCellChanged.connect(refresh);
  };
  return { id: `${NAME}:fix`, autoStart: true, requires: [INotebookTracker], optional: [ICommandPalette], activate: start };
};

