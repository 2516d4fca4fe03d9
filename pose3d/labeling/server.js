// What the page asks of its server, and elements that show names as text.

const token = new URLSearchParams(location.search).get("token") ?? "";

export async function fetched(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...options, headers: { "x-token": token } });
  } catch {
    throw new Error(
      "label-frames does not answer. Keep this page open and start it again with --link and this " +
      "page's whole address in quotes: the page then saves what it holds.");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error;
  } catch { /* plain text */ }
  throw Object.assign(new Error(message), { status: answer.status });
}

export async function call(path, body) {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  return (await fetched(path, options)).json();
}

// a path of names, each of which may hold anything
export const at = (...names) => names.map((name) => encodeURIComponent(name)).join("/");

export const byId = (id) => document.getElementById(id);

// an element with text in it; names are text and never anything else
export function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// a text that is the same already costs no layout
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
