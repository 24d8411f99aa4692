//! Settings that come with a model, for requests that do not say otherwise.

use super::{ChatRequest, Message, Prompt, Role, Sampling};

/// Temperature where neither the request nor the model states one.
const TEMPERATURE: f32 = 0.7;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelDefaults {
    pub sampling: Sampling,
    /// System prompt.
    pub system: Option<String>,
    /// Turns that go before those of each chat, after its system prompt.
    pub messages: Vec<(Role, String)>,
}

impl ModelDefaults {
    /// Fills in what a request leaves open. As in Ollama, a request's own stop sequences replace the model's, and its
    /// own system prompt the model's.
    pub fn apply(&self, request: &mut ChatRequest) {
        let Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            typical_p,
            repeat_penalty,
            repeat_last_n,
            presence_penalty,
            frequency_penalty,
            mirostat,
            mirostat_tau,
            mirostat_eta,
            logit_bias: _,
            seed,
            stop,
            max_tokens,
        } = &self.sampling;
        let asked = &mut request.sampling;
        asked.temperature = asked.temperature.or(*temperature).or(Some(TEMPERATURE));
        asked.top_p = asked.top_p.or(*top_p);
        asked.top_k = asked.top_k.or(*top_k);
        asked.min_p = asked.min_p.or(*min_p);
        asked.typical_p = asked.typical_p.or(*typical_p);
        asked.repeat_penalty = asked.repeat_penalty.or(*repeat_penalty);
        asked.repeat_last_n = asked.repeat_last_n.or(*repeat_last_n);
        asked.presence_penalty = asked.presence_penalty.or(*presence_penalty);
        asked.frequency_penalty = asked.frequency_penalty.or(*frequency_penalty);
        asked.mirostat = asked.mirostat.or(*mirostat);
        asked.mirostat_tau = asked.mirostat_tau.or(*mirostat_tau);
        asked.mirostat_eta = asked.mirostat_eta.or(*mirostat_eta);
        asked.seed = asked.seed.or(*seed);
        asked.max_tokens = asked.max_tokens.or(*max_tokens);
        if asked.stop.is_empty() {
            asked.stop.clone_from(stop);
        }
        match &mut request.prompt {
            Prompt::Messages(messages) => {
                let has_own = messages.iter().any(|message| message.role == Role::System);
                let system = self.system.iter().filter(|_| !has_own);
                let system = system.map(|system| Message::new(Role::System, system));
                let turns = self.messages.iter().map(|(role, text)| Message::new(*role, text));
                let own_system = messages.iter().take_while(|message| message.role == Role::System).count();
                messages.splice(own_system..own_system, system.chain(turns));
            }
            Prompt::Completion(completion) if completion.is_raw() => {}
            Prompt::Completion(completion) => {
                completion.system = completion.system.take().or(self.system.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Completion;

    fn defaults() -> ModelDefaults {
        let sampling = Sampling {
            temperature: Some(0.2),
            top_k: Some(20),
            stop: vec!["END".to_owned()],
            ..Sampling::default()
        };
        let messages = vec![(Role::User, "Hi".to_owned()), (Role::Assistant, "Yes?".to_owned())];
        ModelDefaults { sampling, system: Some("Be brief.".to_owned()), messages }
    }

    fn applied(defaults: &ModelDefaults, prompt: Prompt, sampling: Sampling) -> ChatRequest {
        let mut request = ChatRequest { sampling, ..ChatRequest::new("m", prompt) };
        defaults.apply(&mut request);
        request
    }

    #[test]
    fn what_a_request_leaves_open_is_filled_in() {
        let hello = || Prompt::Messages(vec![Message::new(Role::User, "Hello")]);
        let filled = applied(&defaults(), hello(), Sampling::default());
        assert_eq!(filled.sampling, defaults().sampling);
        let Prompt::Messages(messages) = filled.prompt else { panic!("messages") };
        let turns: Vec<_> = messages.iter().map(|message| (message.role, message.text())).collect();
        let expected = [
            (Role::System, "Be brief."),
            (Role::User, "Hi"),
            (Role::Assistant, "Yes?"),
            (Role::User, "Hello"),
        ];
        assert_eq!(turns, expected.map(|(role, text)| (role, text.into())));

        let plain = applied(&ModelDefaults::default(), hello(), Sampling::default());
        assert_eq!(plain.sampling.temperature, Some(TEMPERATURE));
    }

    #[test]
    fn what_a_request_says_counts() {
        let asked = Sampling { temperature: Some(1.5), stop: vec!["x".to_owned()], ..Sampling::default() };
        let own =
            Prompt::Messages(vec![Message::new(Role::System, "Be long."), Message::new(Role::User, "Hello")]);
        let filled = applied(&defaults(), own, asked.clone());
        assert_eq!(filled.sampling, Sampling { top_k: Some(20), ..asked });
        let Prompt::Messages(messages) = filled.prompt else { panic!("messages") };
        let texts: Vec<_> = messages.iter().map(Message::text).collect();
        assert_eq!(texts, ["Be long.", "Hi", "Yes?", "Hello"]);
    }

    #[test]
    fn a_raw_prompt_gets_no_system_prompt() {
        for (raw, system) in [(false, Some("Be brief.")), (true, None)] {
            let prompt =
                Prompt::Completion(Completion { text: "Hello".to_owned(), raw, ..Completion::default() });
            let Prompt::Completion(completion) = applied(&defaults(), prompt, Sampling::default()).prompt
            else {
                panic!("a completion")
            };
            assert_eq!(completion.system.as_deref(), system);
        }
    }
}
