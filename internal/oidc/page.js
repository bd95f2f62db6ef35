"use strict";
// Logs a person in, and sends the browser back to the application that asked who they are, with a code. What
// was asked stands in the address. It goes to the server as it is, which judges it before anybody is asked
// anything, and says where the browser may be sent. The token is in this page's memory alone, and revoked as soon
// as there is a code.
{
	const el = id => document.getElementById(id);
	const place = /^(.*?\/v1\/)(.*)identity\/oidc\/provider\/([^/]+)\/sign-in$/.exec(location.pathname);
	const known = ["client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "max_age", "code_challenge", "code_challenge_method",
		"response_mode", "prompt", "request", "request_uri"];
	const plain = {
		invalid_client_id: "no application is known here by the client_id that it has sent",
		invalid_redirect_uri: "the address to go back to is none that the application has here, so somebody else may have sent you",
	};

	// read is what the application asks, each parameter once.
	const read = () => {
		const query = new URLSearchParams(location.search), out = {};
		for (const name of known) {
			const all = query.getAll(name);
			if (all.length > 1) {
				throw new Error(name + " is there twice");
			}
			if (all.length) {
				out[name] = all[0];
			}
		}
		if (!place) {
			throw new Error("this is not the address of the page");
		}
		return out;
	};

	// leave sends the browser back to an address of the application.
	const leave = (to, answer, state) => {
		const back = new URLSearchParams({...answer, ...(state !== undefined && {state})});
		location.replace(to + (to.includes("?") ? "&" : "?") + back);
	};

	const why = a => a.error_description || (Array.isArray(a.errors) && a.errors.join("; "));

	const ask = async (path, body, headers) => {
		const r = await fetch(path, {method: "POST", body: JSON.stringify(body), credentials: "omit", redirect: "error", cache: "no-store",
			referrerPolicy: "no-referrer", headers: {"Content-Type": "application/json", ...headers}});
		const text = await r.text();
		let answer = {};
		try {
			answer = JSON.parse(text) || {};
		} catch (e) { // what is between here and the server may answer otherwise
		}
		if (!r.ok) {
			throw Object.assign(new Error(String(why(answer) || "the server answers " + r.status).slice(0, 500)), {answer, status: r.status});
		}
		return answer;
	};

	// denied says what a refusal without a reason is about: which of the steps it was the page knows, as all do who ask.
	const denied = async (asked, about) => {
		try {
			return await asked;
		} catch (e) {
			throw e.status === 403 ? new Error(about) : e;
		}
	};

	// way is names as a part of a path, which the browser does not read as a way up.
	const way = names => {
		if (names.some(n => n === "" || n === "." || n === "..")) {
			throw new Error("the name or the path is none");
		}
		return names.map(encodeURIComponent).join("/");
	};

	// unwrapped is what a login answers. It is wrapped so that the token is this page's own: one that a role
	// reuses is others' too, and is not to be revoked here.
	const unwrapped = async a => (a.wrap_info ? await ask(place[1] + "sys/wrapping/unwrap", {}, {"X-Vault-Token": a.wrap_info.token}) : a).auth;

	// enter logs in, and is the token of it.
	const enter = async (path, name, password) => {
		const at = place[1] + place[2] + "auth/" + way(path.replace(/^\/+|\/+$/g, "").split("/")) + "/login/" + way([name]);
		const auth = await unwrapped(await denied(ask(at, {password}, {"X-Vault-Wrap-TTL": "60"}),
			"the name or the password is wrong" + (el("where").hidden ? "" : ", or nobody signs in at this path")));
		return auth.mfa_requirement ? prove(auth.mfa_requirement) : auth.client_token;
	};

	const submitted = form => new Promise(done => form.addEventListener("submit", e => { e.preventDefault(); done(); }, {once: true}));

	const show = (form, problem) => {
		for (const f of [el("login"), el("factors")]) {
			f.hidden = f !== form;
		}
		el("problem").textContent = problem || "";
		for (const b of document.querySelectorAll("button")) {
			b.disabled = false;
		}
		const first = form && form.querySelector("input");
		if (first) {
			first.focus();
		}
	};

	const busy = () => {
		el("problem").textContent = "";
		el("enter").disabled = el("prove").disabled = true;
	};

	// prove shows second factors, for each that is needed the first that can be shown here.
	const prove = async need => {
		const codes = new Map();
		for (const [name, c] of Object.entries(need.mfa_constraints)) {
			const m = c.any.find(m => m.uses_passcode);
			if (!m) {
				throw new Error("a second factor is needed that cannot be shown here (" + name + ")");
			}
			if (!codes.has(m.id)) {
				const label = document.createElement("label"), input = document.createElement("input");
				Object.assign(input, {inputMode: "numeric", autocomplete: "one-time-code", required: true, name: "code"});
				label.append("Passcode" + (m.name ? " (" + m.name + ")" : ""), input);
				codes.set(m.id, {label, input});
			}
		}
		el("codes").replaceChildren(...[...codes.values()].map(c => c.label));
		for (let problem = "";;) {
			show(el("factors"), problem);
			await submitted(el("factors"));
			busy();
			const shown = Object.fromEntries([...codes].map(([id, c]) => [id, [c.input.value.trim()]]));
			codes.forEach(c => { c.input.value = ""; });
			try {
				return (await unwrapped(await denied(ask(place[1] + place[2] + "sys/mfa/validate", {mfa_request_id: need.mfa_request_id, mfa_payload: shown}, {}),
					"the passcode is wrong, or was taken already: wait for the next one. If it goes on so, or after five minutes, start again"))).client_token;
			} catch (e) {
				problem = "It has not worked: " + e.message + ".";
			}
		}
	};

	// authorize asks for a code, and has the token end.
	const authorize = async (what, token) => {
		const holder = {"X-Vault-Token": token}, home = place[1] + place[2];
		try {
			return await denied(ask(home + "identity/oidc/provider/" + place[3] + "/authorize", what, holder),
				"you are known here, but no policy of yours allows identity/oidc/provider/" + place[3] + "/authorize");
		} finally {
			await ask(home + "auth/token/revoke-self", {}, holder).catch(() => {}); // else it ends at its time
		}
	};

	// offer has the page ask for no other paths than those that the server names, and of one not at all.
	const offer = paths => {
		if (paths && paths.length) {
			const choice = document.createElement("select");
			choice.id = "path";
			choice.append(...paths.map(p => new Option(p)));
			el("path").replaceWith(choice);
			el("where").hidden = paths.length === 1;
		}
	};

	// signIn has a person sign in to an application whose request the server has found good.
	const signIn = async (what, terms) => {
		const to = new URL(terms.redirect_uri);
		el("text").textContent = "The application at " + (/^https?:$/.test(to.protocol) ? to.host : to.protocol) +
			" asks who you are. Sign in only if you have just come from there.";
		offer(terms.sign_in_paths);
		for (let problem = "";;) {
			show(el("login"), problem);
			await submitted(el("login"));
			busy();
			const password = el("password").value;
			el("password").value = "";
			try {
				const answer = await authorize(what, await enter(el("path").value.trim(), el("name").value.trim(), password));
				show(null);
				el("text").textContent = "You are signed in. You can close this page.";
				leave(terms.redirect_uri, {code: answer.code}, what.state);
				return;
			} catch (e) {
				problem = "It has not worked: " + e.message + ".";
			}
		}
	};

	const run = async () => {
		try {
			const what = read();
			await signIn(what, await ask(location.pathname, what, {}));
		} catch (e) {
			const no = e.answer || {};
			el("text").textContent = "An application opens this page to learn who you are. This cannot be answered: " + (plain[no.error] || e.message) + ".";
			if (no.redirect_uri) {
				leave(no.redirect_uri, {error: no.error, error_description: no.error_description}, no.state);
			}
		}
	};

	el("again").addEventListener("click", () => location.reload());
	el("text").textContent = "";
	run();
}
