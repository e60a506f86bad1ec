// Questions to the server. Paths are relative: the page also works below a
// path of a reverse proxy.

export class ApiError extends Error {
  constructor(message, position) {
    super(message);
    this.position = position;
  }
}

// ask returns the JSON of one path; params is an array of [name, value].
export async function ask(path, params, signal) {
  const query = new URLSearchParams(params);
  let response;
  try {
    response = await fetch(`api/v1/${path}?${query}`, { signal, headers: { Accept: 'application/json' } });
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    throw new ApiError('Mesoscope does not answer. Is it still running?');
  }
  let body;
  try {
    body = await response.json();
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    throw new ApiError(`The answer could not be read (${response.status} ${response.statusText}).`);
  }
  if (!response.ok) throw new ApiError(body.error || `${response.status} ${response.statusText}`, body.position);
  return body;
}

export const tailAddress = (params) => `api/v1/tail?${new URLSearchParams(params)}`;
