//! Refuses a node that would read what it writes itself. An answer is no request, so it
//! would be answered with an error, which would be read and answered again, for ever.

use std::fmt;

use crate::deployment::Topics;
use crate::mqtt::filters_overlap;

/// The topics of a node.
#[derive(Debug)]
pub struct NodeTopics<'a> {
    /// Each deployment's name and topics.
    pub deployments: Vec<(&'a str, &'a Topics)>,
    /// Where the node's status goes, its name included.
    pub status: Option<String>,
    /// Where networks can be changed, without a deployment's name.
    pub network: Option<&'a str>,
    /// Where devices can be made to learn anew, without a deployment's name.
    pub relearn: Option<&'a str>,
}

/// What a node reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// Requests of this deployment.
    Requests(String),
    /// Changes of this deployment's network.
    Network(String),
    /// Which devices of this deployment learn anew.
    Relearn(String),
}

/// What a node writes, or somebody else writes for another purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// Results of this deployment.
    Results(String),
    /// Its errors.
    Errors(String),
    /// The node's status.
    Status,
    /// What became of changes of this deployment's network.
    NetworkChanges(String),
    /// Changes of this deployment's network.
    Network(String),
    /// What became of devices of this deployment that were to learn anew.
    Relearnings(String),
    /// Which devices of this deployment learn anew.
    Relearn(String),
}

/// Two topics of a node, of which one brings what the other is written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found the filter {filter:?} for {reads}, which matches {topic:?} for {writes}: what is written there would be taken for requests, and answered in turn; \
     expected topics of their own for requests, such as \"ml/inference/request\""
)]
pub struct Loop {
    /// Who reads.
    pub reads: Reads,
    /// The filter that is read.
    pub filter: String,
    /// Who writes.
    pub writes: Writes,
    /// Where, as a filter: `+` stands for a device.
    pub topic: String,
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(name) => write!(f, "requests of deployment {name:?}"),
            Self::Network(name) => write!(f, "changes of the network of deployment {name:?}"),
            Self::Relearn(name) => write!(f, "devices of deployment {name:?} that learn anew"),
        }
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results(name) => write!(f, "results of deployment {name:?}"),
            Self::Errors(name) => write!(f, "errors of deployment {name:?}"),
            Self::Status => f.write_str("the node's status"),
            Self::NetworkChanges(name) => write!(f, "answers about the network of deployment {name:?}"),
            Self::Network(name) => write!(f, "changes of the network of deployment {name:?}"),
            Self::Relearnings(name) => write!(f, "answers about devices of deployment {name:?}"),
            Self::Relearn(name) => write!(f, "devices of deployment {name:?} that learn anew"),
        }
    }
}

impl NodeTopics<'_> {
    /// The first pair of topics that makes a loop, if there is one.
    pub fn find_loop(&self) -> Option<Loop> {
        let written = self.written();
        self.read().find_map(|(filter, reads)| {
            let is_read = |(topic, writes): &&(String, Writes)| {
                let is_the_same = matches!(
                    (&reads, writes),
                    (Reads::Network(_), Writes::Network(_)) | (Reads::Relearn(_), Writes::Relearn(_))
                );
                !is_the_same && filters_overlap(&filter, topic)
            };
            let (topic, writes) = written.iter().find(is_read)?.clone();
            Some(Loop { reads: reads.clone(), filter, writes, topic })
        })
    }

    fn read(&self) -> impl Iterator<Item = (String, Reads)> {
        let requests = self.deployments.iter().flat_map(|(name, topics)| {
            topics.request.iter().map(|filter| (filter.clone(), Reads::Requests((*name).to_owned())))
        });
        let network = self.deployments.iter().filter_map(|(name, _)| {
            Some((format!("{}/{name}", self.network?), Reads::Network((*name).to_owned())))
        });
        let relearn = self.deployments.iter().filter_map(|(name, _)| {
            Some((format!("{}/{name}", self.relearn?), Reads::Relearn((*name).to_owned())))
        });
        requests.chain(network).chain(relearn)
    }

    fn written(&self) -> Vec<(String, Writes)> {
        let mut written = Vec::new();
        for (name, topics) in &self.deployments {
            let name = || (*name).to_owned();
            written.push((format!("{}/+", topics.result), Writes::Results(name())));
            written.push((format!("{}/+", topics.error), Writes::Errors(name())));
            // Where nobody knows which device asked.
            written.push((topics.error.clone(), Writes::Errors(name())));
            if let Some(network) = self.network {
                let network = format!("{network}/{}", name());
                written.push((format!("{network}/changed"), Writes::NetworkChanges(name())));
                written.push((format!("{network}/error"), Writes::NetworkChanges(name())));
                written.push((network, Writes::Network(name())));
            }
            if let Some(relearn) = self.relearn {
                let relearn = format!("{relearn}/{}", name());
                written.push((format!("{relearn}/relearning"), Writes::Relearnings(name())));
                written.push((format!("{relearn}/error"), Writes::Relearnings(name())));
                written.push((relearn, Writes::Relearn(name())));
            }
        }
        written.extend(self.status.clone().map(|topic| (topic, Writes::Status)));
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(request: &[&str], result: &str, error: &str) -> Topics {
        let request = request.iter().map(|filter| (*filter).to_owned()).collect();
        Topics { request, result: result.to_owned(), error: error.to_owned() }
    }

    fn find(deployments: &[(&str, Topics)], network: Option<&str>) -> Option<(String, String)> {
        let deployments = deployments.iter().map(|(name, topics)| (*name, topics)).collect();
        let status = Some("ml/inference/status/node".to_owned());
        let found = NodeTopics { deployments, status, network, relearn: Some("relearn") }.find_loop();
        found.map(|found| (found.filter, found.topic))
    }

    #[test]
    fn what_a_deployment_reads_is_nothing_that_it_writes() {
        let with = |request: &[&str]| {
            find(&[("a", topics(request, "ml/inference/result", "ml/inference/error"))], Some("net"))
        };
        for (request, filter, topic) in [
            (&["#"][..], "#", "ml/inference/result/+"),
            (&["ml/#"], "ml/#", "ml/inference/result/+"),
            (&["ml/inference/request", "+/inference/#"], "+/inference/#", "ml/inference/result/+"),
            (&["ml/inference/result/sensor"], "ml/inference/result/sensor", "ml/inference/result/+"),
            (&["ml/+/error/+"], "ml/+/error/+", "ml/inference/error/+"),
            (&["ml/inference/error"], "ml/inference/error", "ml/inference/error"),
            (&["ml/inference/status/+"], "ml/inference/status/+", "ml/inference/status/node"),
            (&["net/a/changed"], "net/a/changed", "net/a/changed"),
            (&["net/+/error"], "net/+/error", "net/a/error"),
            (&["net/a"], "net/a", "net/a"),
            (&["relearn/+"], "relearn/+", "relearn/a"),
            (&["relearn/a/error"], "relearn/a/error", "relearn/a/error"),
        ] {
            assert_eq!(with(request), Some((filter.to_owned(), topic.to_owned())), "{request:?}");
        }
        for request in [
            "ml/inference/request",
            "ml/inference/request/#",
            "ml/inference/result",
            "ml/inference/status/other",
            "ml/+/request/+",
            "net",
            "other/#",
        ] {
            assert_eq!(with(&[request]), None, "{request}");
        }
    }

    #[test]
    fn no_deployment_reads_the_answers_of_another() {
        let first = || ("first", Topics::under("first/"));
        let chained = ("second", topics(&["first/ml/inference/result/+"], "out", "faults"));
        assert_eq!(find(&[first(), ("second", Topics::under("second/"))], None), None);
        let expected = "first/ml/inference/result/+".to_owned();
        assert_eq!(find(&[first(), chained.clone()], None), Some((expected.clone(), expected)));
        let wide = ("wide", topics(&["first/#"], "out", "faults"));
        assert!(find(&[wide.clone(), first()], None).is_some() && find(&[wide], None).is_none());
    }

    #[test]
    fn answers_do_not_change_networks() {
        let answers = ("a", topics(&["ask"], "net", "faults"));
        assert_eq!(find(std::slice::from_ref(&answers), Some("net")), Some(("net/a".into(), "net/+".into())));
        assert_eq!(find(&[answers], Some("net/more")), None);
    }
}
