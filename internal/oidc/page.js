"use strict";
// Logs a person in, and sends the browser back to the application that asked who they are, with a code. What
// was asked stands in the address. It goes to the server as it is, which judges it before anybody is asked
// anything, and says where the browser may be sent. The token is in this page's memory alone, and revoked as soon
// as there is a code.
{
	const el = id => document.getElementById(id);
	const place = /^(.*?\/v1\/)(.*)identity\/oidc\/provider\/([^/]+)\/sign-in$/.exec(location.pathname);
	const home = place && place[1] + place[2]; // of the namespace
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
		const at = home + "auth/" + way(path.replace(/^\/+|\/+$/g, "").split("/")) + "/login/" + way([name]);
		const auth = await unwrapped(await denied(ask(at, {password}, {"X-Vault-Wrap-TTL": "60"}),
			"the name or the password is wrong" + (el("where").hidden ? "" : ", or nobody signs in at this path")));
		return auth.mfa_requirement ? prove(auth.mfa_requirement) : auth.client_token;
	};

	// submitted waits for a form, and is the button of it.
	const submitted = form => new Promise(done => form.addEventListener("submit", e => { e.preventDefault(); done(e.submitter); }, {once: true}));

	const show = (form, problem) => {
		for (const f of [el("login"), el("factors")]) {
			f.hidden = f !== form;
		}
		el("problem").textContent = problem || "";
		for (const b of document.querySelectorAll("button")) {
			b.disabled = false;
		}
		const first = form && form.querySelector("input, button");
		if (first) {
			first.focus();
		}
	};

	const busy = () => {
		el("problem").textContent = "";
		el("enter").disabled = el("prove").disabled = el("other").disabled = true;
	};

	// passkey is what a passkey of the person answers to a challenge for the login that waits.
	const passkey = async (waits, method) => {
		const asked = (await denied(ask(home + "sys/mfa/passkey/challenge", {mfa_request_id: waits, method_id: method}, {}),
			"you have no passkey for it, or have waited longer than five minutes")).data;
		if (!asked.origins.includes(location.origin)) {
			throw new Error("passkeys are shown at " + asked.origins.join(", ") + " alone, and this page is at " + location.origin);
		}
		const shown = await navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked.public_key)});
		return JSON.stringify(shown.toJSON());
	};

	// ways are those in which each second factor that is needed can be shown here.
	const ways = need => Object.entries(need.mfa_constraints).map(([name, c]) => {
		const can = window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON;
		const way = {code: c.any.find(m => m.uses_passcode), key: can && c.any.find(m => m.type === "webauthn")};
		if (!way.code && !way.key) {
			throw new Error("a second factor is needed that cannot be shown here (" + name + "). Passkeys take https, or the name localhost, and a browser that is up to date");
		}
		return way;
	});

	const field = m => {
		const label = document.createElement("label"), input = document.createElement("input");
		Object.assign(input, {inputMode: "numeric", autocomplete: "one-time-code", required: true, name: "code"});
		label.append("Passcode" + (m.name ? " (" + m.name + ")" : ""), input);
		return {label, input};
	};

	// prove shows second factors: passcodes where they will do, and passkeys where the person has them rather or they must be.
	const prove = async need => {
		const all = ways(need), either = all.some(w => w.code && w.key);
		for (let problem = "", rather = false;;) {
			const codes = new Map(), keys = new Set();
			for (const w of all) {
				const m = rather ? w.key || w.code : w.code || w.key;
				if (m === w.key) {
					keys.add(m.id);
				} else if (!codes.has(m.id)) {
					codes.set(m.id, field(m));
				}
			}
			el("codes").replaceChildren(...[...codes.values()].map(c => c.label));
			el("prove").textContent = keys.size ? "Show your passkey" : "Go on";
			el("other").textContent = rather ? "Use a passcode" : "Use a passkey";
			el("other").hidden = !either;
			show(el("factors"), problem);
			problem = "";
			if (await submitted(el("factors")) === el("other")) {
				rather = !rather;
				continue;
			}
			busy();
			try {
				const shown = Object.fromEntries([...codes].map(([id, c]) => [id, [c.input.value.trim()]]));
				for (const id of keys) {
					shown[id] = [await passkey(need.mfa_request_id, id)];
				}
				const about = [...(codes.size ? ["the passcode is wrong, or was taken already: wait for the next one"] : []), ...(keys.size ? ["the passkey was not taken"] : [])];
				return (await unwrapped(await denied(ask(home + "sys/mfa/validate", {mfa_request_id: need.mfa_request_id, mfa_payload: shown}, {}),
					about.join(", or ") + ". If it goes on so, or after five minutes, start again"))).client_token;
			} catch (e) {
				problem = "It has not worked: " + e.message + ".";
			}
		}
	};

	// authorize asks for a code, and has the token end.
	const authorize = async (what, token) => {
		const holder = {"X-Vault-Token": token};
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

	// signIn has a person sign in to an application whose request the server has found good. Whoever manages a namespace gets
	// what people enter at its auth methods, and its page has the address of all others.
	const signIn = async (what, terms) => {
		const to = new URL(terms.redirect_uri), whose = decodeURIComponent(place[2]).replace(/\/$/, "");
		el("text").textContent = "The application at " + (/^https?:$/.test(to.protocol) ? to.host : to.protocol) +
			" asks who you are. Sign in only if you have just come from there." +
			(whose && " Your name and password go to the namespace " + whose + ".");
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
				leave(terms.redirect_uri, {code: answer.code, iss: answer.iss}, what.state);
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
				leave(no.redirect_uri, {error: no.error, error_description: no.error_description, ...(no.iss && {iss: no.iss})}, no.state);
			}
		}
	};

	el("again").addEventListener("click", () => location.reload());
	el("text").textContent = "";
	run();
}
