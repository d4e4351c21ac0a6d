// Calls of the admin API: JSON in, JSON out, one kind of failure.

import { text } from "./texts.js";

/** What the server refused, in its words; status 0 when it could not be reached. */
export class Failure extends Error {
  constructor(message, code, status, retryAfter = null) {
    super(message);
    Object.assign(this, { code, status, retryAfter });
  }
}

function csrfToken() {
  return document.querySelector("meta[name=csrf-token]")?.content;
}

/** Begin a request; `body` is a document, a FormData, or nothing. */
function request(method, path, body, signal) {
  const headers = { accept: "application/json" };
  const token = csrfToken();
  if (token && method !== "GET") headers["X-CSRF-Token"] = token;
  let content = body;
  if (body !== undefined && !(body instanceof FormData) && !(body instanceof Blob)) {
    headers["content-type"] = "application/json";
    content = JSON.stringify(body);
  }
  return fetch(path, { method, headers, body: content, signal, credentials: "same-origin" });
}

/** Call the API and return its answer, null when it has no body; Failure otherwise. */
export async function call(method, path, body, { signal } = {}) {
  let answer;
  try {
    answer = await request(method, path, body, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(text("script.unreachable"), 0, 0);
  }
  const said = await answer.text();
  let document = null;
  try {
    document = said ? JSON.parse(said) : null;
  } catch {
    // A proxy may answer with a page of its own.
  }
  if (answer.ok) return document;
  const retry = Number(answer.headers.get("retry-after")) || null;
  const message = document?.message ?? text("script.strange", { status: answer.status });
  throw new Failure(message, document?.code ?? 0, answer.status, retry);
}

/** Whether a failure means that the session has ended: go and sign in again, then come back. */
export function signedOut(failure) {
  if (failure.status !== 401 || !csrfToken()) return false;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  return true;
}
