/*
 * Prompts that read as prose, in JupyterLab and Notebook 7. Both load this file as it stands, and with it fix.js.
 * A prompt cell gets a MIME type, and so a language, of its own, and all else is part of that language. Other cells
 * are not touched, and a saved notebook has no trace of it.
 */
(() => {
"use strict";
const NAME = "comet_magic";
// Those whose cell is a text.
const MAGICS = ["claude", "comet_image", "comet_speech", "comet_music", "comet_video"];
const MIME = "text/x-comet-prompt";
const MOST_NESTED = 20000; // characters; of longer prompts only magic, flags and braces are marked
const PROMPT = new RegExp(`^\\s*(?:%%(?:capture|prun|time|timeit)\\b.*\\n\\s*)*%%(?:${MAGICS.join("|")})(?=\\s|$)`);

const FIX = document.currentScript.src.replace("prose.js", "fix.js"); // with the version behind it

let scope = {};

/** Return shared modules, each in the version that is in use, else the newest. */
const shared = (...names) => Promise.all(names.map(sharedModule));
const sharedModule = async (name) => {
  const versions = Object.entries(scope[name] ?? {});
  if (!versions.length) throw new Error(`${NAME}: ${name} is not shared`);
  versions.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const [, version] = versions.find(([, one]) => one.loaded) ?? versions[versions.length - 1];
  return (await version.get())();
};

// ---- references: the same spans as comet_magic/describe/template.py finds

const [CLOSINGS, CLOSINGS_OF_OPEN, MOST_PARSED, LONGEST] = [50, 5, 1000000, 10000];

/** Return where each {{expr}} begins and ends. isExpression: whether a text is one, in Python. */
const references = (prompt, isExpression) => {
  let left = MOST_PARSED;
  const closed = (start, first) => {
    if (first - start > LONGEST || !prompt.slice(start, first).trim()) return -1;
    let tries = prompt.slice(start, first).includes("{{") ? CLOSINGS_OF_OPEN : CLOSINGS;
    for (let end = first; tries-- && end >= 0 && end - start <= LONGEST; end = prompt.indexOf("}}", end + 1)) {
      left -= end - start;
      if (left < 0) return -1;
      if (isExpression(prompt.slice(start, end))) return end + 2;
    }
    return -1;
  };
  const found = [];
  let [at, textFrom, first, start] = [0, 0, 0, 0];
  while (left >= 0 && (start = prompt.indexOf("{{", at)) >= 0) {
    at = start + 2;
    if (start > textFrom && prompt[start - 1] === "\\") {
      textFrom = start;
      continue;
    }
    first = first < 0 ? -1 : prompt.indexOf("}}", at);
    const to = first < 0 ? -1 : closed(at, first);
    if (to < 0) continue;
    found.push({ from: start, to });
    textFrom = at = to;
  }
  return found;
};

/** Return a test for Python expressions. The editor's parser forgives open quotes. */
const expressionTest = (parser) => (source) => {
  if (source.trimStart().startsWith("#")) return false;
  const text = `(${source.trim()}\n)`;
  const { topNode } = parser.parse(text);
  let isGood = topNode.firstChild?.name === "ExpressionStatement" && !topNode.firstChild.nextSibling;
  topNode.cursor().iterate((node) => {
    if (node.type.isError) isGood = false;
    if (!/^(Format)?String$/.test(node.name)) return;
    if (!/^[a-z]*("""|'''|["'])(\\[^]|(?!\1)[^\\])*\1$/i.test(text.slice(node.from, node.to))) isGood = false;
  });
  return isGood;
};

/** Remember answers: at each key, most questions are the same. */
const remembered = (test, known = new Map()) => (source) => {
  if (known.size > 10000) known.clear();
  if (!known.has(source)) known.set(source, test(source));
  return known.get(source);
};

// ---- the language of prompts

const load = async (languages) => {
  const mimes = ["text/x-ipython", "text/x-ipythongfm"];
  const [python, markdown] = await Promise.all(mimes.map((mime) => languages.getLanguage(mime)));
  try {
    return await promptSupport(python.support, markdown.support);
  } catch (error) {
    console.error(error);
    return python.support;
  }
};

const promptSupport = async (python, markdown) => {
  const [language, view] = await shared("@codemirror/language", "@codemirror/view");
  const [lezer, { Tag, styleTags, tags }] = await shared("@lezer/common", "@lezer/highlight");
  const brace = Tag.define();
  const data = language.defineLanguageFacet();
  const styles = styleTags({ Magic: tags.meta, Flag: tags.attributeName, Brace: brace });
  const names = ["Prompt", "Magic", "Flag", "Prose", "Brace", "Expression"];
  const [top, magic, flag, prose, braces, expression] = names.map((name, id) =>
    lezer.NodeType.define({ id, name, top: !id, props: id ? [styles] : [[language.languageDataProp, data]] })
  );
  // $5 is money, an indented line is text, and so is one above dashes.
  const removed = ["InlineMathDollar", "BlockMathDollar", "IndentedCode", "SetextHeading"];
  const markdownParser = markdown.language.parser.configure({ remove: removed });
  const isExpression = remembered(expressionTest(python.language.parser));

  const treeOf = (text) => {
    const [nodes, positions] = [[], []];
    const add = (type, from, to) => {
      if (to <= from) return;
      nodes.push(new lezer.Tree(type, [], [], to - from));
      positions.push(from);
    };
    const start = PROMPT.exec(text)?.[0].length ?? 0;
    add(magic, 0, start);
    const lineEnd = (text.indexOf("\n", start) + 1 || text.length + 1) - 1;
    let isLiteral = false;
    for (const { index, 0: word } of text.slice(start, lineEnd).matchAll(/"[^"]*"|'[^']*'|[^\s"']+/g)) {
      isLiteral ||= word === "--literal";
      if (/^--?[a-z]/i.test(word)) add(flag, start + index, start + index + word.split("=")[0].length);
    }
    let at = lineEnd;
    for (const { from, to } of isLiteral ? [] : references(text.slice(lineEnd), isExpression)) {
      add(prose, at, lineEnd + from);
      add(braces, lineEnd + from, lineEnd + from + 2);
      add(expression, lineEnd + from + 2, lineEnd + to - 2);
      add(braces, lineEnd + to - 2, lineEnd + to);
      at = lineEnd + to;
    }
    add(prose, at, text.length);
    return new lezer.Tree(top, nodes, positions, text.length);
  };
  const mixed = lezer.parseMixed((node, input) => {
    if (input.length > MOST_NESTED) return null;
    if (node.type === expression) return { parser: python.language.parser };
    return node.type === top ? { parser: markdownParser, overlay: (inner) => inner.type === prose } : null;
  });
  class PromptParser extends lezer.Parser {
    createParse(input, fragments, ranges) {
      const advance = () => treeOf(input.read(0, input.length));
      return mixed({ parsedPos: 0, stoppedAt: null, stopAt() {}, advance }, input, fragments, ranges);
    }
  }
  const style = { tag: brace, color: "var(--jp-mirror-editor-operator-color)", fontWeight: "bold" };
  return new language.LanguageSupport(new language.Language(data, new PromptParser(), [], NAME), [
    view.EditorView.lineWrapping,
    language.syntaxHighlighting(language.HighlightStyle.define([style])),
    [data, markdown.language.data, python.language.data].map((one) => one.of({ closeBrackets: { brackets: [] } })),
    markdown.support,
  ]);
};

const prosePlugin = async () => {
  const [{ IEditorLanguageRegistry }, { INotebookTracker }] = await shared("@jupyterlab/codemirror", "@jupyterlab/notebook");
  const activate = (app, languages, tracker) => {
    const watched = new WeakSet();
    languages.addLanguage({ name: "comet prompt", mime: MIME, load: () => load(languages) });
    const watch = (notebook) => {
      languages.getLanguage(MIME); // before a prompt is typed
      const setType = (model) => {
        const mime = PROMPT.test(model.sharedModel.getSource()) ? MIME : notebook.codeMimetype;
        if (model.mimeType !== mime && (mime === MIME || model.mimeType === MIME)) model.mimeType = mime;
      };
      const watchCells = () => {
        for (const model of notebook.model?.cells ?? []) {
          if (model.type !== "code" || watched.has(model)) continue;
          watched.add(model);
          model.sharedModel.changed.connect((_, change) => change.sourceChange && setType(model));
          model.mimeTypeChanged.connect(() => setType(model)); // by the kernel's language_info
          setType(model);
        }
      };
      const watchModel = () => {
        notebook.model?.cells.changed.connect(watchCells);
        watchCells();
      };
      notebook.modelChanged.connect(watchModel);
      watchModel();
    };
    tracker.widgetAdded.connect((_, panel) => watch(panel.content));
    tracker.forEach((panel) => watch(panel.content));
  };
  return { id: `${NAME}:prose`, autoStart: true, requires: [IEditorLanguageRegistry, INotebookTracker], activate };
};

window._JUPYTERLAB ??= {};
window._JUPYTERLAB[NAME] = {
  init: (shareScope) => void (scope = shareScope),
  get: async () => {
    const fixPlugin = import(FIX).then(({ default: plugin }) => plugin(shared, PROMPT));
    const plugins = await Promise.allSettled([prosePlugin(), fixPlugin]);
    for (const { reason } of plugins) reason && console.error(reason);
    return () => ({ __esModule: true, default: plugins.flatMap(({ value }) => value ?? []) });
  },
};
})();
