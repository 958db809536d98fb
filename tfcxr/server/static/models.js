/** The loaded models, and the parts of the form that depend on the chosen one. */

const element = (id) => document.getElementById(id);
export const SYNTHETIC = "synthetic; shows no patient";

/** Each loaded version as {name, ...facts}, the newest of each model first. */
export function versionsOf(models) {
  return models.flatMap(({ name, versions }) => versions.map((facts) => ({ name, ...facts })));
}

/** How a version is named to the reader. */
export function titleOf(model) {
  return `${model.name}/${model.version}`;
}

/** The lines under a picture that a model generates. */
export function captionOf(model, inputs) {
  return [`asked for: ${inputs.text}`, `${titleOf(model)}, weights ${model.weights_sha256.slice(0, 8)}`, SYNTHETIC];
}

/** What a generated PNG file says of itself. */
export function pngFacts(model, inputs, rest) {
  return {
    synthetic: true,
    model: titleOf(model),
    weights_sha256: model.weights_sha256,
    labels: inputs.asked,
    ...rest,
    truncation: inputs.truncation ?? 1,
  };
}

/** Fills a select with texts, whose values are their positions. */
export function fillSelect(select, texts) {
  select.replaceChildren(...texts.map((text, index) => new Option(text, index)));
}

/** Whether the page can generate with a version. */
export function generates(model) {
  return ["generator", "cascade"].includes(model.kind) && model.signatures.includes("png");
}

/** Shows the inputs of a model. */
export function showInputs(model) {
  const { label_names: names, is_single_label: isSingle, conditions } = model;
  element("model-facts").textContent =
    `${model.model}, ${model.image_size} px, ${model.steps} steps on ${model.data}.` +
    (model.notice ? ` ${model.notice}` : "");
  element("labels").hidden = !model.reads_label;
  element("label-choices").replaceChildren(...names.map((name, index) => choice(name, index, isSingle)));
  element("conditions").hidden = !conditions.length;
  element("condition-choices").replaceChildren(...conditions.map(conditionInput));
  element("truncation-field").hidden = !model.has_truncation;
  element("walk").hidden = false;
  const canWalk = model.signatures.includes("latent");
  element("walk-missing").hidden = canWalk;
  element("walk-form").hidden = element("walk-note").hidden = !canWalk;
  element("walk-result").hidden = true;
}

/** What the form asks a model for: {label, truncation, asked, text}, the label as a row of numbers and in words. */
export function readInputs(model) {
  const boxes = [...element("label-choices").querySelectorAll("input")];
  const label = model.reads_label ? boxes.map((box) => Number(box.checked)) : [];
  const asked = model.label_names.filter((_, index) => label[index]);
  for (const [index, condition] of model.conditions.entries()) {
    const input = element(`condition-${index}`);
    const given = valuesOf(condition, input);
    label.push(...(given ?? condition.unknown));
    if (given) asked.push(`${condition.name} ${condition.choices?.[input.value].text ?? input.value}`);
  }
  const text = model.reads_label ? asked.join(" + ") || "no label" : "nothing: the model reads no label";
  const truncation = model.has_truncation ? Number(element("truncation").value) : null;
  return { label, truncation, asked, text };
}

function choice(name, index, isSingle) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = isSingle ? "radio" : "checkbox";
  input.name = "label";
  input.checked = isSingle && index === 0;
  label.className = "choice";
  label.append(input, name);
  return label;
}

function conditionInput(condition, index) {
  const label = document.createElement("label");
  const input = document.createElement(condition.choices ? "select" : "input");
  input.id = `condition-${index}`;
  if (condition.choices) {
    input.append(new Option("unknown", ""), ...condition.choices.map(({ text }, place) => new Option(text, place)));
  } else {
    Object.assign(input, { type: "number", min: 0, max: condition.scale, step: 1, placeholder: "unknown" });
  }
  label.append(condition.choices ? condition.name : `${condition.name}, years`, input);
  return label;
}

/** The values of a condition's columns, null where nothing was entered. */
function valuesOf(condition, input) {
  if (input.value === "") return null;
  return condition.choices ? condition.choices[input.value].values : [Number(input.value) / condition.scale];
}
